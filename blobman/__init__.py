"""
End-to-end encrypted, immutable blobs for Twisted.

A :class:`BlobManager`, built on a :class:`BlobsSynchronizer`, composes

- ``local``: an encrypted SQLite store on this machine,
- ``remote``: the HTTP client of a server that is not trusted,
- ``crypto``: sealed blobs, opened and sealed as they pass,
- ``synchronizing``: what is out of step, found and moved, once or as it comes,
- ``transfers``: who may transfer when, and what a transfer does.

It is given and gives

- ``document``: :class:`BlobDoc`, what is put, and :class:`BlobReader`, what comes back;
- ``model``: :class:`Flags`, :class:`Priority`, :class:`SyncStatus` and the rules for names;
- ``results``: :class:`SyncResult` and :class:`BlobChange`, what synchronizing comes to;
- ``errors``: one tree of errors, under :class:`BlobError`;
- ``reconciliation``: the table of what becomes of a blob when the server tells of it;
- ``interfaces``: what stores, remotes and observers provide.

:func:`import_soledad` takes over what Soledad left on this machine, with a report.
:func:`use_monotonic_time` has a reactor take no notice of the wall clock being set; ``clocks`` has
the timeouts that take none anyway.

``protocol`` is what client and server agree on. They share ``wire``, to ask somebody over HTTP,
``sqlite``, to open a database, ``disk``, for files that outlive a power cut, and ``threads``, to do
what blocks. ``server`` is the other end, ``cli`` the ``blobman`` command. ``queries`` has what a
manager asks of the server alone; ``arguments`` and ``limits`` check what it is given.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # That of typing, which takes longer to import than all that is here.
if TYPE_CHECKING:
    from .clocks import use_monotonic_time
    from .document import BlobDoc, BlobReader
    from .errors import (
        BlobAlreadyExistsError,
        BlobError,
        BlobNotFoundError,
        CertificateError,
        ClosedError,
        CursorExpiredError,
        DeletedMeanwhile,
        ExternalBlobError,
        IllegalStatusChange,
        InvalidBlob,
        InvalidFlagsError,
        MaximumRetriesError,
        NotConfiguredError,
        QuotaExceededError,
        ReplacedMeanwhile,
        RetriableTransferError,
        ServerError,
        SoledadError,
        StoreError,
        StoreFullError,
        UnauthorizedError,
        UnreadableContentError,
        WrongKeyError,
        WrongSizeError,
    )
    from .interfaces import ITransferObserver
    from .local import SoledadReport, import_soledad
    from .manager import BlobManager
    from .model import UNAVAILABLE_STATUSES, Flags, Priority, SyncStatus, TransferProgress
    from .results import BlobChange, LeftBlob, SyncResult
    from .sync import BlobsSynchronizer

__all__ = [
    "UNAVAILABLE_STATUSES",
    "BlobAlreadyExistsError",
    "BlobChange",
    "BlobDoc",
    "BlobError",
    "BlobManager",
    "BlobNotFoundError",
    "BlobReader",
    "BlobsSynchronizer",
    "CertificateError",
    "ClosedError",
    "CursorExpiredError",
    "DeletedMeanwhile",
    "ExternalBlobError",
    "Flags",
    "ITransferObserver",
    "IllegalStatusChange",
    "InvalidBlob",
    "InvalidFlagsError",
    "LeftBlob",
    "MaximumRetriesError",
    "NotConfiguredError",
    "Priority",
    "QuotaExceededError",
    "ReplacedMeanwhile",
    "RetriableTransferError",
    "ServerError",
    "SoledadError",
    "SoledadReport",
    "StoreError",
    "StoreFullError",
    "SyncResult",
    "SyncStatus",
    "TransferProgress",
    "UnauthorizedError",
    "UnreadableContentError",
    "WrongKeyError",
    "WrongSizeError",
    "import_soledad",
    "use_monotonic_time",
]

_IMPORTED_WHEN_USED = {
    "clocks": ("use_monotonic_time",),
    "document": ("BlobDoc", "BlobReader"),
    "errors": (
        "BlobAlreadyExistsError",
        "BlobError",
        "BlobNotFoundError",
        "CertificateError",
        "ClosedError",
        "CursorExpiredError",
        "DeletedMeanwhile",
        "ExternalBlobError",
        "IllegalStatusChange",
        "InvalidBlob",
        "InvalidFlagsError",
        "MaximumRetriesError",
        "NotConfiguredError",
        "QuotaExceededError",
        "ReplacedMeanwhile",
        "RetriableTransferError",
        "ServerError",
        "SoledadError",
        "StoreError",
        "StoreFullError",
        "UnauthorizedError",
        "UnreadableContentError",
        "WrongKeyError",
        "WrongSizeError",
    ),
    "interfaces": ("ITransferObserver",),
    "local": ("SoledadReport", "import_soledad"),
    "manager": ("BlobManager",),
    "model": ("UNAVAILABLE_STATUSES", "Flags", "Priority", "SyncStatus", "TransferProgress"),
    "results": ("BlobChange", "LeftBlob", "SyncResult"),
    "sync": ("BlobsSynchronizer",),
}
"""
Which names each module has. They are imported when they are used. Some bring Twisted, treq and
SQLite with them, which takes long, and a command that only shows its help needs none of them. The
others would still come before the command can have Ctrl-C end it without a traceback.
"""

_MODULES = {name: module for module, names in _IMPORTED_WHEN_USED.items() for name in names}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = getattr(import_module(f".{_MODULES[name]}", __name__), name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
