"""
Every error that blobman raises on purpose, as one tree.

::

    BlobError (also named SoledadError)
    |
    |   the caller's doing
    +-- BlobAlreadyExistsError       the id is taken in that namespace
    +-- InvalidFlagsError            a flag that is not one of Flags
    +-- WrongSizeError               the content is not as long as ``size`` said  (a ValueError)
    +-- UnreadableContentError       reading the application's file failed        (an OSError)
    +-- NotConfiguredError           the manager has no local store, or no remote
    +-- ClosedError                  the manager or the store has been closed
    |
    |   the local store's
    +-- StoreError                   the database is locked, full or damaged
    |   +-- WrongKeyError            the key does not open the database
    |   +-- StoreFullError           the disk has no room left
    +-- IllegalStatusChange          a change that is not in ``model.STATUS_CHANGES``
    |
    |   the server's, or the way there
    +-- InvalidBlob                  sealed bytes that do not verify
    |   +-- ExternalBlobError        of a blob that others sealed, where none is expected
    |   +-- ReplacedMeanwhile        of a blob that the server has told to be replaced by another
    +-- MaximumRetriesError          they did not verify as often as was tried
    +-- UnauthorizedError            401 or 403: the token is not accepted
    +-- CursorExpiredError           410: the cursor is of another history than the server's
    +-- QuotaExceededError           507: the user's space on the server is used up
    +-- CertificateError             the server's certificate is not to be trusted, or it wants ours
    +-- ServerError                  any other answer: not a success, or not the server's
    +-- RetriableTransferError       it may work later: no connection, cut, timeout, 408, 429, 5xx
        +-- BlobNotFoundError        404: not there, or not there yet
            +-- DeletedMeanwhile     it was deleted here while it was being transferred

Each message names the blob and its namespace where there is one, and the
cause is chained as ``__cause__``. No message holds a key, a secret or a token.
"""

from __future__ import annotations

import copy
from typing import Any

__all__ = [
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
    "describe",
]


def describe(blob_id: str, namespace: str = "") -> str:
    """
    Name a blob for a message.

    :return: ``blob 'x'``, with ``in namespace 'n'`` unless it is the default one.
    """
    place = f" in namespace {namespace!r}" if namespace else ""
    return f"blob {blob_id!r}{place}"


class BlobError(Exception):
    """
    The root of all errors of blobman.

    :ivar result: if ``sync``, ``send_missing`` or ``fetch_missing`` failed with it, what they have
        done all the same, a :class:`~blobman.SyncResult`; else None.
    """

    result: Any = None

    def about(self, what: str) -> BlobError:
        """
        Say the same of something in particular.

        :param what: how the message is to begin.
        :return: another error of the same kind, with the same cause.
        """
        error = copy.copy(self)
        error.args = (f"{what}: {self}",)
        error.__cause__ = self.__cause__
        return error


SoledadError = BlobError
"""The name of the root in Soledad, for code that is ported."""


class BlobAlreadyExistsError(BlobError):
    """A blob with this id exists in this namespace; nothing was changed."""


class InvalidFlagsError(BlobError):
    """A flag is not one of :class:`blobman.model.Flags`; nothing was changed."""


class WrongSizeError(BlobError, ValueError):
    """The content is longer or shorter than the ``size`` given; nothing was stored."""


class UnreadableContentError(BlobError, OSError):
    """Reading the application's file failed; nothing was stored."""


class NotConfiguredError(BlobError):
    """The operation needs a local store or a remote that the manager was not given."""


class ClosedError(BlobError):
    """The manager or the store was closed before the operation could finish."""


class StoreError(BlobError):
    """The local database cannot do it: it is locked, full, unreadable or damaged."""


class WrongKeyError(StoreError):
    """The key does not open the local database; the file was left as it was."""


class StoreFullError(StoreError):
    """The disk of the local store has no room left; nothing half-written remains."""


class IllegalStatusChange(BlobError):
    """A synchronization status may not follow the present one; nothing was changed."""


class InvalidBlob(BlobError):
    """Sealed bytes that do not verify: damaged, cut, forged, or of another blob."""


class ExternalBlobError(InvalidBlob):
    """What came has no seal of the user's, and that is not expected in its namespace."""


class ReplacedMeanwhile(InvalidBlob):
    """What came is the blob that the server had told of before it told of another one."""


class MaximumRetriesError(BlobError):
    """A blob failed verification as many times as it was to be tried."""


class UnauthorizedError(BlobError):
    """The server does not accept the token for this user (401, 403)."""


class CursorExpiredError(BlobError):
    """
    The cursor is of another history of changes than the server's (410).

    It came from another server, or the server was restored from a backup. Compare what is here
    with all that is there: read from :data:`blobman.model.FIRST_CURSOR`.
    """


class QuotaExceededError(BlobError):
    """The user's space on the server is used up (507)."""


class CertificateError(BlobError):
    """
    The server's TLS certificate is not to be trusted, or the server wants one of the client.

    The message says which: it has expired, is not valid yet, is not from a trusted authority, or
    is not for the host in the URL. Nothing was sent.
    """


class ServerError(BlobError):
    """
    The answer is not one that the protocol foresees. Nothing was recorded.

    :ivar code: the HTTP status, or None if there was no usable one.
    :ivar may_pass: whether it is not the server's own word, but that of something on the way (a
        login page, a proxy), so that the server may answer the next time.
    """

    def __init__(self, message: str, code: int | None = None, *, may_pass: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.may_pass = may_pass


class RetriableTransferError(BlobError):
    """
    The transfer failed for a reason that may pass.

    :ivar retry_after: the seconds that the server asked to wait, or None.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class BlobNotFoundError(RetriableTransferError):
    """No such blob, or none yet. The synchronizer does not retry it."""


class DeletedMeanwhile(BlobNotFoundError):
    """The blob was deleted here while its transfer was waiting or under way."""

    @classmethod
    def of(cls, blob_id: str, namespace: str) -> DeletedMeanwhile:
        """Make the error about a blob."""
        return cls(f"{describe(blob_id, namespace)} was deleted meanwhile")
