"""
What is out of step between a store and a server, found and moved.

- ``comparing``: what the server tells of is compared with what is here;
- ``moving``: what that has found is moved, once;
- ``following``: it is moved as it comes, in ``lanes``: one for each kind of transfers;
- ``namespaces``: which there are, and all of them brought into step; ``crowds``: all followed.

It knows the store and the remote by their interfaces only.
"""
