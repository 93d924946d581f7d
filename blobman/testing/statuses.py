"""The half of the store in memory that deals with statuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from itertools import count
from typing import TypeVar

from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed

from ..errors import ClosedError, IllegalStatusChange, describe
from ..interfaces import Ids, Paths, Queue, Sizes, Tags
from ..model import (
    UNAVAILABLE_STATUSES,
    BlobKey,
    Flags,
    Priority,
    QueuedTransfer,
    SyncStatus,
    check_key,
    check_namespace,
    is_legal_change,
)
from ..reconciliation import Feed

__all__ = ["MemoryStatusStore", "Record", "illegal_change"]

T = TypeVar("T")
_S = SyncStatus


@dataclass
class Record:
    """
    What is known of a blob.

    :ivar age: a number that grows with the time when it was first known.
    :ivar content: the local copy; None if there is none.
    :ivar tag: that of the copy, sealed; None if it is not known.
    :ivar told_tag: the one that the server told last; None if it has told none.
    :ivar told_size: the sealed size that it told; None if whatever comes is taken.
    :ivar former_tag: the one that it told of the blob that was there before.
    :ivar seen: the number of the last full comparison that has seen it.
    :ivar untold: whether it was uploaded, and no change has told of it since; if it is
        PENDING_UPLOAD, whether that is not to be noted when it is.
    """

    age: int
    status: SyncStatus
    priority: Priority
    retries: int = 0
    content: bytes | None = None
    preamble: bytes = b""
    external: bool = False
    tag: bytes | None = None
    told_tag: bytes | None = None
    told_size: int | None = None
    former_tag: bytes | None = None
    flags: tuple[Flags, ...] = ()
    seen: int = 0
    untold: bool = False

    @property
    def has_successor(self) -> bool:
        """Whether the server has another blob under the id than this one, which is deleted."""
        if self.status is _S.LOCAL_ONLY:
            return self.told_tag is not None
        is_news = self.told_tag not in (None, self.former_tag, self.tag)
        return self.status is _S.PENDING_DELETE and is_news

    def wait_again(self) -> None:
        """Drop the copy, and wait for the download of what the server has."""
        self.status, self.retries = _S.PENDING_DOWNLOAD, 0
        self.content = self.tag = None

    @property
    def is_unconfirmed(self) -> bool:
        """Whether the server has told a tag, and that of the copy is not known."""
        return self.status is _S.SYNCED and self.tag is None and self.told_tag is not None

    @property
    def is_available(self) -> bool:
        """Whether ``get`` finds it."""
        return self.content is not None and self.status is not _S.PENDING_DELETE


class MemoryStatusStore:
    """What :class:`.MemoryStore` knows of blobs, without reading their content."""

    def __init__(self) -> None:
        self._records: dict[BlobKey, Record] = {}
        # Those that are older than any blob to come.
        self._tombstones: set[BlobKey] = set()
        self._feeds: dict[str, Feed] = {}
        self._ages = count(1)
        self._closed = False

    def _add(
        self,
        key: BlobKey,
        status: SyncStatus,
        priority: Priority | None = None,
        content: bytes | None = None,
        preamble: bytes = b"",
    ) -> Record:
        priority = Priority.DEFAULT if priority is None else priority
        record = Record(next(self._ages), status, priority, 0, content, preamble)
        self._records[key] = record
        return record

    # Lists

    def list(self, namespace: str = "") -> Deferred[Ids]:
        """See :meth:`blobman.interfaces.IBlobStore.list`."""
        return self._do(
            lambda: [key.blob_id for key, record in self._in(namespace) if record.is_available]
        )

    def list_external(self, namespace: str = "") -> Deferred[Ids]:
        """See :meth:`blobman.interfaces.IBlobStore.list_external`."""
        return self._do(
            lambda: [
                key.blob_id
                for key, record in self._in(namespace)
                if record.is_available and record.external
            ]
        )

    def list_status(self, status: SyncStatus, namespace: str = "") -> Deferred[Ids]:
        """See :meth:`blobman.interfaces.IBlobStore.list_status`."""
        return self._do(lambda: [key.blob_id for key, _ in self._waiting(namespace, status)])

    def list_namespaces(self) -> Deferred[Ids]:
        """See :meth:`blobman.interfaces.IBlobStore.list_namespaces`."""
        return self._do(lambda: sorted({key.namespace for key in self._records}))

    def list_found(self) -> Deferred[Paths]:
        """See :meth:`blobman.interfaces.IBlobStore.list_found`; there are no files."""
        return self._do(list)

    def get_size_list(self, status: SyncStatus, namespace: str = "") -> Deferred[Sizes]:
        """See :meth:`blobman.interfaces.IBlobStore.get_size_list`."""
        return self._do(
            lambda: [
                (key.blob_id, len(record.content))
                for key, record in self._waiting(namespace, status)
                if record.content is not None
            ]
        )

    def next_transfers(
        self, status: SyncStatus, namespace: str, limit: int, after: QueuedTransfer | None = None
    ) -> Deferred[Queue]:
        """See :meth:`blobman.interfaces.IBlobStore.next_transfers`."""

        def work() -> Queue:
            queue = [
                QueuedTransfer(key.blob_id, record.priority, record.age)
                for key, record in self._waiting(namespace, status)
            ]
            return [item for item in queue if after is None or item.place > after.place][:limit]

        return self._do(work)

    def get_sync_progress(self, namespace: str | None = "") -> Deferred[dict[str, int]]:
        """See :meth:`blobman.interfaces.IBlobStore.get_sync_progress`."""

        def work() -> dict[str, int]:
            place = None if namespace is None else check_namespace(namespace)
            numbers: dict[str, int] = {}
            for key, record in self._records.items():
                if place in (None, key.namespace):
                    numbers[record.status.name] = numbers.get(record.status.name, 0) + 1
            return numbers

        return self._do(work)

    def _in(self, namespace: str) -> Iterator[tuple[BlobKey, Record]]:
        place = check_namespace(namespace)
        for key, record in self._records.items():
            if key.namespace == place:
                yield key, record

    def _waiting(self, namespace: str, status: SyncStatus) -> Iterator[tuple[BlobKey, Record]]:
        found = [item for item in self._in(namespace) if item[1].status is status]
        yield from sorted(found, key=lambda item: (-item[1].priority, item[1].age))

    # Statuses

    def get_sync_status(
        self, blob_id: str, namespace: str = ""
    ) -> Deferred[tuple[SyncStatus, int] | None]:
        """See :meth:`blobman.interfaces.IBlobStore.get_sync_status`."""

        def work(key: BlobKey) -> tuple[SyncStatus, int] | None:
            record = self._records.get(key)
            return None if record is None else (record.status, record.retries)

        return self._about(blob_id, namespace, work)

    def update_sync_status(
        self,
        blob_id: str,
        status: SyncStatus,
        namespace: str = "",
        priority: Priority | None = None,
    ) -> Deferred[None]:
        """See :meth:`blobman.interfaces.IBlobStore.update_sync_status`."""

        def work(key: BlobKey) -> None:
            record = self._records.get(key)
            here = record is not None and record.content is not None
            before = None if record is None else record.status
            fits = status is _S.PENDING_DELETE or here == (status not in UNAVAILABLE_STATUSES)
            if not fits or not is_legal_change(before, status):
                raise illegal_change(key, before, status)
            if record is None:
                record = self._add(key, status, priority)
            if status in (_S.PENDING_DOWNLOAD, _S.SYNCED) and status is not before:
                record.retries = 0
            if status is _S.PENDING_DELETE is not before:
                record.former_tag = record.told_tag
            record.status = status
            record.priority = max(record.priority, priority or record.priority)

        return self._about(blob_id, namespace, work)

    def mark_uploaded(self, tags: Tags, namespace: str) -> Deferred[Ids]:
        """See :meth:`blobman.interfaces.IBlobStore.mark_uploaded`."""

        def work() -> Ids:
            others = []
            for blob_id, tag in tags.items():
                key = check_key(blob_id, namespace)
                record = self._records.get(key)
                if record is not None and record.status is SyncStatus.PENDING_UPLOAD:
                    record.status, record.retries = SyncStatus.SYNCED, 0
                    is_told = tag is not None and record.told_tag == tag
                    record.untold = not record.untold and not is_told
                    record.tag, record.told_tag = tag or record.tag, tag if is_told else None
                    self._see(key, record)
                elif record is None or record.status is not SyncStatus.SYNCED:
                    others.append(blob_id)
            return others

        return self._do(work)

    def _see(self, key: BlobKey, record: Record) -> None:
        """Note that the server has it."""
        if key.namespace in self._feeds:
            record.seen = self._feeds[key.namespace].number

    def get_priority(self, blob_id: str, namespace: str = "") -> Deferred[Priority | None]:
        """See :meth:`blobman.interfaces.IBlobStore.get_priority`."""

        def work(key: BlobKey) -> Priority | None:
            record = self._records.get(key)
            return None if record is None else record.priority

        return self._about(blob_id, namespace, work)

    def update_priority(
        self, blob_id: str, priority: Priority, namespace: str = ""
    ) -> Deferred[None]:
        """See :meth:`blobman.interfaces.IBlobStore.update_priority`."""

        def work(key: BlobKey) -> None:
            if key in self._records:
                self._records[key].priority = priority

        return self._about(blob_id, namespace, work)

    def increment_retries(self, blob_id: str, namespace: str = "") -> Deferred[int]:
        """See :meth:`blobman.interfaces.IBlobStore.increment_retries`."""

        def work(key: BlobKey) -> int:
            record = self._records.get(key)
            if record is None:
                return 0
            record.retries += 1
            return record.retries

        return self._about(blob_id, namespace, work)

    def forget(self, blob_id: str, namespace: str = "") -> Deferred[None]:
        """See :meth:`blobman.interfaces.IBlobStore.forget`."""

        def work(key: BlobKey) -> None:
            if key in self._records and self._records[key].told_size is None:
                self._forget_missing(key)

        return self._about(blob_id, namespace, work)

    def _forget_missing(self, key: BlobKey) -> None:
        record = self._records.get(key)
        if record is not None and record.status in UNAVAILABLE_STATUSES:
            del self._records[key]

    # What the server lists

    def apply_tombstones(
        self, deleted: Set[str], listed: Set[str], namespace: str = ""
    ) -> Deferred[Ids]:
        """See :meth:`blobman.interfaces.IBlobStore.apply_tombstones`."""

        def work() -> Ids:
            gone = {check_key(blob_id, namespace) for blob_id in deleted - listed}
            return self._bury(namespace, gone)

        return self._do(work)

    def _bury(self, namespace: str, gone: Set[BlobKey]) -> Ids:
        """Apply tombstones, and give the local copies that went."""
        going: dict[BlobKey, Record] = {}
        for key, record in self._in(namespace):
            is_news = record.status is _S.SYNCED and key not in self._tombstones
            if key in gone and (is_news or record.status in UNAVAILABLE_STATUSES):
                going[key] = record
        for key in going:
            del self._records[key]
        self._tombstones |= gone
        return sorted(key.blob_id for key, it in going.items() if it.content is not None)

    def note_older_tombstone(self, blob_id: str, namespace: str = "") -> Deferred[None]:
        """See :meth:`blobman.interfaces.IBlobStore.note_older_tombstone`."""
        return self._about(blob_id, namespace, self._tombstones.add)

    def apply_remote_list(
        self, listed: Set[str], namespace: str = "", deleted: Set[str] = frozenset()
    ) -> Deferred[Ids]:
        """See :meth:`blobman.interfaces.IBlobStore.apply_remote_list`."""

        def work() -> Ids:
            unsettled = []
            for key, record in [*self._in(namespace)]:
                record.told_size = None
                if key.blob_id in listed:
                    if record.status is _S.PENDING_UPLOAD:
                        unsettled.append(key.blob_id)
                else:
                    self._settle_missing(key, record, deleted)
            for blob_id in sorted(listed):
                key = check_key(blob_id, namespace)
                if key not in self._records:
                    self._add(key, _S.PENDING_DOWNLOAD)
            return unsettled

        return self._do(work)

    def _settle_missing(self, key: BlobKey, record: Record, deleted: Set[str]) -> bool:
        """Settle what the server does not have, and tell whether it has lost it."""
        is_lost = record.status is _S.SYNCED and key.blob_id not in deleted
        if is_lost or record.status is _S.FAILED_UPLOAD:
            record.status = _S.PENDING_UPLOAD
        if record.told_tag is not None:
            record.told_tag = record.tag if record.status is _S.SYNCED else None
            record.told_size = None
        record.untold = False
        self._forget_missing(key)
        return is_lost

    # Ends

    def close(self) -> Deferred[None]:
        """See :meth:`blobman.interfaces.IBlobStore.close`."""
        self._closed = True
        return succeed(None)

    def _do(self, work: Callable[[], T]) -> Deferred[T]:
        if self._closed:
            return fail(ClosedError("the store is closed"))
        return maybeDeferred(work)

    def _about(self, blob_id: str, namespace: str, work: Callable[[BlobKey], T]) -> Deferred[T]:
        return self._do(lambda: work(check_key(blob_id, namespace)))


def illegal_change(
    key: BlobKey, before: SyncStatus | None, after: SyncStatus | None
) -> IllegalStatusChange:
    """Make the error for a change of status that is not allowed."""
    old, new = ("nothing" if status is None else status.name for status in (before, after))
    return IllegalStatusChange(
        f"{describe(key.blob_id, key.namespace)} can't change from {old} to {new}"
    )
