"""
Where the server keeps blobs.

``interface`` is what HTTP asks for. ``backend`` provides it, with two things that can be chosen:

- ``catalogue``: everything that is said about blobs, in transactions, and small blobs themselves;
- ``payloads``: large blobs, each under a key that is used once.

``janitor`` removes payloads that nothing refers to. ``present`` is the interface of the engine
that this replaces.
"""

from __future__ import annotations

from .interface import BlobName
from .present import FlagList, Found, IBlobsBackend, Ids, IStoredBlob, IUpload, Outcomes

__all__ = [
    "BlobName",
    "FlagList",
    "Found",
    "IBlobsBackend",
    "IStoredBlob",
    "IUpload",
    "Ids",
    "Outcomes",
]
