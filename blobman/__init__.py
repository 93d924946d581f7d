"""
End-to-end encrypted, immutable blobs for Twisted.

A :class:`BlobManager`, built on a :class:`BlobsSynchronizer`, composes

- ``local``: an encrypted SQLite store on this machine,
- ``remote``: the HTTP client of a server that is not trusted,
- ``crypto``: sealed blobs, opened and sealed as they pass,
- ``transfers``: who may transfer when.

It is given and gives

- ``document``: :class:`BlobDoc`, what is put;
- ``model``: :class:`Flags`, :class:`Priority`, :class:`SyncStatus` and the rules for names;
- ``errors``: one tree of errors, under :class:`BlobError`;
- ``interfaces``: what stores, remotes and observers provide.

:func:`import_soledad` takes over what Soledad left on this machine, with a report.
:func:`use_monotonic_time` has a reactor take no notice of the wall clock being set; ``clocks`` has
the timeouts that take none anyway.

``protocol`` is what client and server agree on, ``server`` the other end, ``cli`` the
``blobman`` command. ``queries`` has what a manager asks of the server alone; ``arguments`` and
``limits`` check what it is given. ``runs``, ``retry``, ``progress`` and ``operations`` serve the
synchronizer.
"""

from __future__ import annotations

from .clocks import use_monotonic_time
from .document import BlobDoc
from .errors import (
    BlobAlreadyExistsError,
    BlobError,
    BlobNotFoundError,
    CertificateError,
    ClosedError,
    DeletedMeanwhile,
    IllegalStatusChange,
    InvalidBlob,
    InvalidFlagsError,
    MaximumRetriesError,
    NotConfiguredError,
    QuotaExceededError,
    RetriableTransferError,
    ServerError,
    SoledadError,
    StoreError,
    UnauthorizedError,
    UnreadableContentError,
    WrongKeyError,
    WrongSizeError,
)
from .interfaces import ITransferObserver
from .local import SoledadReport, import_soledad
from .manager import BlobManager
from .model import UNAVAILABLE_STATUSES, Flags, Priority, SyncStatus, TransferProgress
from .sync import BlobsSynchronizer

__all__ = [
    "UNAVAILABLE_STATUSES",
    "BlobAlreadyExistsError",
    "BlobDoc",
    "BlobError",
    "BlobManager",
    "BlobNotFoundError",
    "BlobsSynchronizer",
    "CertificateError",
    "ClosedError",
    "DeletedMeanwhile",
    "Flags",
    "ITransferObserver",
    "IllegalStatusChange",
    "InvalidBlob",
    "InvalidFlagsError",
    "MaximumRetriesError",
    "NotConfiguredError",
    "Priority",
    "QuotaExceededError",
    "RetriableTransferError",
    "ServerError",
    "SoledadError",
    "SoledadReport",
    "StoreError",
    "SyncStatus",
    "TransferProgress",
    "UnauthorizedError",
    "UnreadableContentError",
    "WrongKeyError",
    "WrongSizeError",
    "import_soledad",
    "use_monotonic_time",
]
