"""
What the synchronizer asks of a store and of a remote.

- ``store``: the blobs and their statuses on this machine;
- ``remote``: a user's blobs on the server, one or many to a request;
- ``content``: one blob's content, on its way from the one to the other;
- ``observers``: who is told how transfers get on.

The synchronizer knows these and nothing else of the two. The SQLite store and
the in-memory one pass the same contract; so do the HTTP client and the in-memory remote.
"""

from __future__ import annotations

from .content import IPayload, IStagedBlob, Payloads
from .observers import ITransferObserver, Progress, no_progress
from .remote import Ended, FlagList, IRemote, IRemoteStream, Sent
from .store import IBlobStore, Ids, Paths, Queue, Sizes, Tags

__all__ = [
    "Ended",
    "FlagList",
    "IBlobStore",
    "IPayload",
    "IRemote",
    "IRemoteStream",
    "IStagedBlob",
    "ITransferObserver",
    "Ids",
    "Paths",
    "Payloads",
    "Progress",
    "Queue",
    "Sent",
    "Sizes",
    "Tags",
    "no_progress",
]
