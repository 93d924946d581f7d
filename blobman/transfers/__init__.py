"""
Who may transfer when, and what a transfer does.

- ``engine``: all of it, put together for a manager;
- ``queue``: what waits, and who is next: plain data, without a clock;
- ``permits``: starts what the queue grants a permit, and what is due;
- ``transfer``: one of them, from its beginning to its end;
- ``sharing``: one per blob, for all who want it;
- ``bundles``: small blobs that travel together;
- ``runs``: many blobs, each as often as it is worth it;
- ``retry``: whether it is, and when; ``timing``: by which clock;
- ``puts``, ``uploads``, ``downloads``, ``deletions``, ``verification``: one blob;
- ``requests``: what transfers none;
- ``arrivals``: what has come to the store;
- ``own_changes``: what is changed on the server meanwhile;
- ``signals``: who is told that something has happened;
- ``operations``: what is under way, and its end;
- ``progress``: who is told.

It knows the store and the remote by their interfaces only.
"""
