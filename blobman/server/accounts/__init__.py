"""
Who may come in, and how much each may have under way.

- ``interface``: what the server, and an administrator, ask of the place where tokens are;
- ``tokens``, ``file``: a token file is such a place. ``storage.catalogue.tokens`` is the other one;
- ``admission``: counts what they have under way.
"""
