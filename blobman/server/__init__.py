"""
The other end: a blobs server that cannot read what it keeps.

- ``http``: what a request goes through, from a connection to an answer;
- ``accounts``: who may come in, and how much each may have;
- ``storage``: where blobs are kept;
- ``running``: the service, its configuration, and what an administrator does.
"""
