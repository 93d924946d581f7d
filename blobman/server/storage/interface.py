"""
What HTTP asks of the place where blobs are kept, and the errors by which that answers.

Every method can fail with the errors of this module and with ``ClosedError``::

    BlobNotFoundError          there is no such blob                          (404)
    BlobAlreadyExistsError     the name is taken                              (409)
    CursorExpiredError         the cursor is of another history               (410)
    QuotaExceededError         the user's space is used up                    (507)
    StoreError
    +-- UnavailableError       it does not work now, but may later            (503, Retry-After)
    +-- DamagedError           what is stored is not what was put there       (500)

Cancelling a Deferred keeps work from being done that has not begun. What has begun goes on: the
Deferred fails with ``CancelledError`` at once, and nobody is told how the work ended. Whatever it
would have handed over is released.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from typing import NamedTuple, TypeAlias

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from zope.interface import Attribute, Interface

from ...errors import BlobError, StoreError, describe
from ...model import Flags, RemoteChange
from ...protocol import DEFAULT_NAMESPACE, Cursor, ListQuery

SMALL = 144 * 1024
"""
Bytes up to which a blob is small: stored in one step when all of it is there.

So it is durable at least twice as fast as in a file of its own; and what clients send many to a
request is smaller.
"""

# Inside an interface that has a method ``list``, the builtin can't be written as a type.
Ids = list[str]
FlagList = list[Flags]
Outcomes = list[BlobError | None]
Pages = AsyncGenerator[Ids, None]
Namespaces = AsyncGenerator[dict[str, int], None]


class UnavailableError(StoreError):
    """
    The place can't be used at the moment: the disk is full or fails, or the folder is gone.

    :ivar retry_after: the seconds after which another attempt makes sense.
    """

    def __init__(self, message: str, retry_after: int = 60) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class AwayError(UnavailableError):
    """
    Something that keeps blobs can't be used at the moment.

    :ivar parts: which part, or both: ``catalogue`` and ``payloads``.
    """

    def __init__(self, parts: Sequence[str], reason: str) -> None:
        super().__init__(f"{' and '.join(parts)}: {reason}")
        self.parts = parts


class DamagedError(StoreError):
    """Stored bytes are not those that were stored. None of them has been handed out."""


class Asked(NamedTuple):
    """
    What became of a request to something that is elsewhere; for figures.

    :ivar operation: what it was for, such as ``put``.
    :ivar seconds: how long it took, until the whole answer was there.
    :ivar status: of the answer; 0 if there was none.
    :ivar attempt: 1, or more if it was made again.
    :ivar sent: bytes of content.
    :ivar received: likewise.
    """

    operation: str
    seconds: float
    status: int
    attempt: int
    sent: int
    received: int


Observers: TypeAlias = "list[Callable[[Asked], object]]"


class Queried(NamedTuple):
    """
    What became of a request to a database; for figures.

    :ivar operation: ``ask`` or ``change``.
    :ivar seconds: how long it took, with what was tried again.
    :ivar is_well: whether the database did it.
    """

    operation: str
    seconds: float
    is_well: bool


Queries: TypeAlias = "list[Callable[[Queried], object]]"


class Sessions(NamedTuple):
    """Connections to a database: those that are being used, and those that are not."""

    busy: int
    idle: int


class ChangesPart(NamedTuple):
    """
    Some changes.

    :ivar changes: of each id the latest.
    :ivar cursor: what is behind them.
    :ivar more: whether there are more, perhaps.
    """

    changes: list[RemoteChange]
    cursor: Cursor
    more: bool


Parts = AsyncGenerator[ChangesPart, None]


class BlobName(NamedTuple):
    """
    What identifies a blob on the server. Each part has been checked to be a name.

    :ivar namespace: never empty: the default one is :data:`blobman.protocol.DEFAULT_NAMESPACE`.
    """

    user: str
    namespace: str
    blob_id: str

    def __str__(self) -> str:
        """Name it for a message, without the user."""
        namespace = "" if self.namespace == DEFAULT_NAMESPACE else self.namespace
        return describe(self.blob_id, namespace)


class IUpload(Interface):
    """
    A blob on its way in. Nobody can see it before it is published.

    It ends with exactly one of ``publish`` and ``discard``.
    """

    name: BlobName = Attribute("What it will be called.")
    size: int = Attribute("The bytes written so far.")

    def write(pieces: Sequence[bytes | memoryview]) -> Deferred[None]:
        """
        Take the next bytes. Wait for the end of one write before the next.

        :return: fires when more may come. Fails with ``QuotaExceededError`` or
            ``UnavailableError``; then only ``discard`` is left. Cancelled, likewise.
        """

    def publish(flags: Iterable[Flags] = ()) -> Deferred[None]:
        """
        Make it visible with these flags, if the name is free.

        :return: fires when it is durable. Fails with ``BlobAlreadyExistsError``,
            ``QuotaExceededError`` or ``UnavailableError``; then nothing of it is left. Cancelled,
            the blob may or may not become visible.
        """

    def discard() -> Deferred[None]:
        """Remove it. The Deferred never fails. Do nothing after an end."""


class IStoredBlob(Interface):
    """A blob that is open for reading. Its bytes stay readable if it is deleted meanwhile."""

    size: int = Attribute("Its size in bytes, sealed as it is.")
    tag: bytes = Attribute("Its last 16 bytes.")
    content: bytes | None = Attribute("All of it, if it is small and has been read already.")

    def write_to(consumer: IConsumer, start: int = 0, end: int | None = None) -> Deferred[None]:
        """
        Write the bytes from ``start`` to before ``end`` to a consumer, as a push producer that
        is registered for as long as this takes. At most 256 KiB are written at a time, and no
        byte that has not been checked.

        :param end: the end of the blob if None.
        :return: fires when the last byte has been written and the producer is unregistered. Fails
            with ``DamagedError`` or ``UnavailableError``, perhaps after a part has been written.
            When the consumer stops the producer, or the Deferred is cancelled, it fails with
            ``CancelledError``. The producer is unregistered on every end.
        """

    def close() -> None:
        """Release it. May be called twice, and while ``write_to`` is under way, which fails."""


Found: TypeAlias = "list[IStoredBlob | None]"


class IBlobsBackend(Interface):
    """
    Keeps sealed blobs, their flags and tombstones.

    Names have been checked. A change whose Deferred has fired is durable.
    """

    observers: Observers = Attribute(
        "Called with what became of each request to what is elsewhere."
    )
    queries: Queries = Attribute(
        "Called, in any thread, with what became of each request to a database."
    )

    def sessions() -> Sessions:
        """Tell how many connections there are to a database; none if there is no such thing."""

    def open() -> Deferred[None]:
        """
        Begin. Call it, and wait for it, before anything else.

        :return: fires when ready. Fails with ``StoreError`` if another server has the place open,
            or if what is there can't be trusted. Cancelled, it is closed again.
        """

    def close() -> Deferred[None]:
        """
        End. What has not begun fails with ``ClosedError``.

        :return: fires when what was under way is done. May be called twice.
        """

    def check_writing() -> Deferred[None]:
        """
        Make a small durable change, to see whether that is possible.

        :return: fires if it is. Fails with :class:`AwayError` if not.
        """

    def list(user: str, query: ListQuery) -> Pages:
        """
        List blobs, or ids that have been deleted.

        The list is read page by page. A blob that is there all the time is listed once; what comes
        or goes meanwhile is listed or not.

        :param query: what to list; its ``only_count`` is ignored, its namespace is not empty.
        :return: pages of ids, none of which is empty. Reading one fails with ``StoreError``. Close
            it if the rest is not wanted. A deleted id carries no flags, so a flag matches none.
        """

    def count(user: str, query: ListQuery) -> Deferred[int]:
        """
        Count what ``list`` would list.

        :return: fires with the number.
        """

    def changes(user: str, namespace: str, cursor: Cursor | None, most: int) -> Parts:
        """
        List what has changed, in the order in which it was committed.

        The changes are read part by part. They are those of the moment when the first one is read,
        without the ids that were changed meanwhile, which come behind the cursors of all parts.

        :param cursor: of an earlier part; None for all blobs that are there, without deletions.
        :param most: how many changes at most, in all parts.
        :return: at least one part. Only the first can be empty; the last one read tells where to
            go on. Reading the first fails with ``CursorExpiredError``, and any with ``StoreError``.
        """

    def changed(user: str, namespace: str) -> Deferred[None]:
        """
        Wait for a change. Call it before ``changes``: then none is missed.

        :return: fires when something may have changed since the call, and when this is closed.
            Cancel it if it is not wanted.
        """

    def namespaces(user: str) -> Namespaces:
        """
        List the namespaces of a user that have blobs, page by page.

        :return: how many blobs each has, by name. Reading a page fails with ``StoreError``.
        """

    def read(name: BlobName) -> Deferred[IStoredBlob]:
        """
        Open a blob.

        :return: fires with an :class:`IStoredBlob`, which has to be closed. Fails with
            ``BlobNotFoundError`` or ``DamagedError``.
        """

    def read_some(names: Sequence[BlobName], most: int) -> Deferred[Found]:
        """
        Open some blobs, in the order given, until those whose content is in memory have ``most``
        bytes, or with the first whose content is not.

        :param names: at least one; not all may be looked at.
        :return: fires with an :class:`IStoredBlob`, to be closed, or None if it is not there, for
            the first name and perhaps for some after it. Fails only with what concerns the first.
        """

    def receive(name: BlobName, size: int | None = None) -> Deferred[IUpload]:
        """
        Begin an upload.

        :param size: how many bytes will come, if that is known. Unless they are few, that space is
            reserved.
        :return: fires with an :class:`IUpload`. Fails with ``BlobAlreadyExistsError`` or
            ``QuotaExceededError``.
        """

    def store(blobs: Sequence[tuple[BlobName, bytes]]) -> Deferred[Outcomes]:
        """
        Store small blobs that are in memory, each as if by itself, with one wait for all.

        :return: fires when they are durable, with None for each that is stored, or else its
            ``BlobAlreadyExistsError`` or ``QuotaExceededError``.
        """

    def delete(name: BlobName) -> Deferred[None]:
        """
        Remove a blob with its flags, and leave a tombstone.

        :return: fires when it is gone. Fails with ``BlobNotFoundError``.
        """

    def set_flags(name: BlobName, flags: Iterable[Flags]) -> Deferred[None]:
        """
        Replace a blob's flags.

        :return: fires when they are set. Fails with ``BlobNotFoundError``.
        """

    def get_flags(name: BlobName) -> Deferred[FlagList]:
        """
        Read a blob's flags, in the order in which they were given.

        :return: fires with them. Fails with ``BlobNotFoundError``.
        """
