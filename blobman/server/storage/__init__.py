"""
Where the server keeps blobs.

``interface`` is what HTTP asks for. ``backend`` provides it, with two things that can be chosen:

- ``catalogue``: everything that is said about blobs, in transactions, and small blobs themselves;
- ``payloads``: large blobs, each under a key that is used once.

``janitor`` removes payloads that nothing refers to, ``feed`` reads what has changed, and ``waking``
tells those that wait for it. ``backends`` puts it together. ``maintenance`` is what is done to a
data folder from outside: backups, checks and repairs.
"""
