"""A store in memory. Every Deferred has fired when it is returned."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO, NamedTuple

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from ..document import BlobReader
from ..errors import BlobAlreadyExistsError, describe
from ..interfaces import IBlobStore, Ids, IPayload, IStagedBlob
from ..model import BlobKey, Priority, SyncStatus, check_key, check_size, is_legal_change
from ..reconciliation import Expected, check_replacement
from .files import open_reader, read_exactly
from .following import MemoryFollowingStore
from .statuses import illegal_change

__all__ = ["MemoryStore"]

_S = SyncStatus


@implementer(IPayload)
class MemoryPayload:
    """Some bytes in one chunk; see :class:`~blobman.interfaces.IPayload`."""

    def __init__(self, content: bytes, preamble: bytes, external: bool = False) -> None:
        self.size = len(content)
        self.preamble = preamble
        self.external = external
        self.chunk_count = 1 if content else 0
        self._content = content

    def read_now(self) -> bytes:
        """See :meth:`blobman.interfaces.IPayload.read_now`."""
        return self._content

    def read_chunk(self, index: int) -> Deferred[bytes]:
        """See :meth:`blobman.interfaces.IPayload.read_chunk`."""
        return succeed(self._content)


class _Arrival(NamedTuple):
    content: bytes
    preamble: bytes
    external: bool
    tag: bytes | None
    sealed_size: int


Publish = Callable[[_Arrival], Deferred[None]]


@implementer(IStagedBlob)
class MemoryStagedBlob:
    """Bytes on their way in; see :class:`~blobman.interfaces.IStagedBlob`."""

    def __init__(self, publish: Publish) -> None:
        self._publish = publish
        self._content = bytearray()
        self._ended = False

    def write(self, data: bytes | bytearray | memoryview) -> Deferred[None] | None:
        """See :meth:`blobman.interfaces.IStagedBlob.write`; what comes after an end is dropped."""
        if not self._ended:
            self._content += data
        return None

    def publish(
        self,
        preamble: bytes,
        external: bool = False,
        tag: bytes | None = None,
        sealed_size: int = 0,
    ) -> Deferred[None]:
        """See :meth:`blobman.interfaces.IStagedBlob.publish`."""
        if self._ended:
            return fail(ValueError("this staged blob has been published or discarded"))
        self._ended = True
        content = bytes(self._content)
        return self._publish(_Arrival(content, preamble, external, tag, sealed_size))

    def discard(self) -> Deferred[None]:
        """See :meth:`blobman.interfaces.IStagedBlob.discard`."""
        self._ended = True
        self._content.clear()
        return succeed(None)


@implementer(IBlobStore)
class MemoryStore(MemoryFollowingStore):
    """
    Blobs in memory, gone with the object.

    See :class:`~blobman.interfaces.IBlobStore` for the methods; wrong names fail the Deferred.
    """

    # Content

    def put(
        self,
        blob_id: str,
        blob_fd: BinaryIO,
        size: int,
        namespace: str = "",
        status: SyncStatus = SyncStatus.PENDING_UPLOAD,
        priority: Priority = Priority.MEDIUM,
        preamble: bytes = b"",
    ) -> Deferred[None]:
        """See :meth:`blobman.interfaces.IBlobStore.put`."""

        def work(key: BlobKey) -> None:
            if status not in (_S.PENDING_UPLOAD, _S.LOCAL_ONLY):
                raise ValueError(f"status must be PENDING_UPLOAD or LOCAL_ONLY, not {status!r}")
            check_size(size)
            if key in self._records:
                what = self._records[key].status.name.lower().replace("_", " ")
                known = "waits to be deleted" if what == "pending delete" else f"is {what}"
                raise BlobAlreadyExistsError(
                    f"{describe(key.blob_id, key.namespace)} exists (it {known})"
                )
            content = read_exactly(blob_fd, size, key)
            self._add(key, status, priority, content, preamble)

        return self._about(blob_id, namespace, work)

    def get(self, blob_id: str, namespace: str = "") -> Deferred[BlobReader | None]:
        """See :meth:`blobman.interfaces.IBlobStore.get`."""

        def work(key: BlobKey) -> BlobReader | None:
            record = self._records.get(key)
            if record is None or record.content is None or not record.is_available:
                return None
            return open_reader(key, record.content, record.external, lambda: self._closed)

        return self._about(blob_id, namespace, work)

    def open_payload(self, blob_id: str, namespace: str = "") -> Deferred[IPayload | None]:
        """See :meth:`blobman.interfaces.IBlobStore.open_payload`."""

        def work(key: BlobKey) -> IPayload | None:
            record = self._records.get(key)
            if record is None or record.content is None:
                return None
            return MemoryPayload(record.content, record.preamble, record.external)

        return self._about(blob_id, namespace, work)

    def record_preamble(self, blob_id: str, preamble: bytes, namespace: str = "") -> Deferred[None]:
        """See :meth:`blobman.interfaces.IBlobStore.record_preamble`."""

        def work(key: BlobKey) -> None:
            record = self._records.get(key)
            if record is not None and record.status is _S.PENDING_UPLOAD:
                record.preamble = record.preamble or preamble

        return self._about(blob_id, namespace, work)

    def open_pending_uploads(
        self, blob_ids: Ids, namespace: str, max_size: int
    ) -> Deferred[dict[str, IPayload]]:
        """See :meth:`blobman.interfaces.IBlobStore.open_pending_uploads`."""

        def work() -> dict[str, IPayload]:
            found: dict[str, IPayload] = {}
            for blob_id in blob_ids:
                record = self._records.get(check_key(blob_id, namespace))
                if record is None or record.content is None:
                    continue
                if record.status is _S.PENDING_UPLOAD and len(record.content) <= max_size:
                    found[blob_id] = MemoryPayload(record.content, record.preamble, record.external)
            return found

        return self._do(work)

    def stage(self, blob_id: str, namespace: str = "", replace: bool = False) -> MemoryStagedBlob:
        """See :meth:`blobman.interfaces.IBlobStore.stage`."""

        def publish(arrival: _Arrival) -> Deferred[None]:
            return self._about(blob_id, namespace, lambda key: self._publish(key, arrival, replace))

        check_key(blob_id, namespace)
        return MemoryStagedBlob(publish)

    def _publish(self, key: BlobKey, arrival: _Arrival, replace: bool) -> None:
        record = self._records.get(key)
        is_replaced = record is not None and record.status is _S.SYNCED and replace
        if record is not None and record.is_available and not is_replaced:
            return
        if record is None or not (is_replaced or record.status is _S.PENDING_DOWNLOAD):
            raise illegal_change(key, None if record is None else record.status, _S.SYNCED)
        if record.told_tag is not None and record.told_size is not None:
            expected = Expected(record.told_tag, record.told_size, record.former_tag)
            expected.check(key, arrival.tag, arrival.sealed_size)
        if is_replaced:
            check_replacement(key, record.external, arrival.external)
        record.status, record.retries = _S.SYNCED, 0
        record.content, record.preamble = arrival.content, arrival.preamble
        record.external, record.tag = arrival.external, arrival.tag
        record.untold = False
        if key.namespace in self._feeds:
            # It tells as much as a change does.
            record.told_tag, record.told_size = arrival.tag, arrival.sealed_size
        self._see(key, record)

    def exists(self, blob_id: str, namespace: str = "") -> Deferred[bool]:
        """See :meth:`blobman.interfaces.IBlobStore.exists`."""
        return self._about(
            blob_id, namespace, lambda key: key in self._records and self._records[key].is_available
        )

    def delete(self, blob_id: str, namespace: str = "") -> Deferred[bool]:
        """See :meth:`blobman.interfaces.IBlobStore.delete`."""

        def work(key: BlobKey) -> bool:
            record = self._records.get(key)
            if record is None:
                return False
            if not is_legal_change(record.status, None):
                raise illegal_change(key, record.status, None)
            had_copy = record.content is not None
            was_there = had_copy or record.told_tag is not None
            if record.status is _S.PENDING_DELETE and was_there:
                self._tombstones.add(key)
            if record.has_successor:
                record.wait_again()
            else:
                del self._records[key]
            return had_copy

        return self._about(blob_id, namespace, work)

    def fetch_instead(self, blob_id: str, namespace: str = "") -> Deferred[None]:
        """See :meth:`blobman.interfaces.IBlobStore.fetch_instead`."""

        def work(key: BlobKey) -> None:
            record = self._records.get(key)
            if record is not None and record.status is _S.PENDING_DELETE:
                self._tombstones.add(key)
                known = record.former_tag if record.content is None else record.tag
                if record.told_tag == known:
                    record.told_tag = record.told_size = None
                record.wait_again()

        return self._about(blob_id, namespace, work)
