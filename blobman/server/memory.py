"""Blobs in memory, for tests: the same contract as the folder, and nothing durable."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from ..errors import BlobAlreadyExistsError, BlobError, BlobNotFoundError
from ..model import Flags
from ..protocol import TAG_SIZE, ListQuery
from .storage import BlobName, FlagList, Found, IBlobsBackend, Ids, IStoredBlob, IUpload, Outcomes


@dataclass
class _Kept:
    order: int
    content: bytes = b""
    flags: tuple[Flags, ...] = ()


@implementer(IBlobsBackend)
class MemoryBackend:
    """Keeps blobs in dictionaries. Every Deferred has fired when it is returned."""

    def __init__(self) -> None:
        self.blobs: dict[BlobName, _Kept] = {}
        self.tombstones: dict[BlobName, _Kept] = {}
        self._changes = 0

    def open(self) -> Deferred[None]:
        """Do nothing."""
        return succeed(None)

    def close(self) -> Deferred[None]:
        """Do nothing."""
        return succeed(None)

    def check_writing(self) -> Deferred[None]:
        """Do nothing."""
        return succeed(None)

    def next_change(self) -> int:
        """Give a number that is larger than those before: what a time is on disk."""
        self._changes += 1
        return self._changes

    def list(self, user: str, query: ListQuery) -> Deferred[Ids]:
        """List ids; see :class:`IBlobsBackend`."""
        place = self.tombstones if query.deleted else self.blobs
        found = [
            (kept.order if query.order_by else 0, name.blob_id)
            for name, kept in place.items()
            if name[:2] == (user, query.namespace)
            and (query.flag is None or query.flag in kept.flags)
        ]
        found.sort(reverse=query.order_by == "-date")
        return succeed([blob_id for _, blob_id in found])

    def count(self, user: str, query: ListQuery) -> Deferred[int]:
        """Count ids; see :class:`IBlobsBackend`."""
        return self.list(user, query).addCallback(len)

    def _with(self, name: BlobName) -> Deferred[_Kept]:
        kept = self.blobs.get(name)
        return succeed(kept) if kept else fail(BlobNotFoundError(f"no {name}"))

    def read(self, name: BlobName) -> Deferred[IStoredBlob]:
        """Open a blob; see :class:`IBlobsBackend`."""
        return self._with(name).addCallback(lambda kept: MemoryBlob(kept.content))

    def read_some(self, names: Sequence[BlobName], most: int) -> Deferred[Found]:
        """Open some blobs; see :class:`IBlobsBackend`."""
        found: Found = []
        held = 0
        for name in names:
            kept = self.blobs.get(name)
            found.append(MemoryBlob(kept.content) if kept else None)
            held += len(kept.content) if kept else 0
            if held >= most:
                break
        return succeed(found)

    def receive(self, name: BlobName, size: int | None = None) -> Deferred[IUpload]:
        """Begin an upload; see :class:`IBlobsBackend`."""
        error = self.taken(name)
        return fail(error) if error else succeed(_MemoryUpload(name, self))

    def store(self, blobs: Sequence[tuple[BlobName, bytes]]) -> Deferred[Outcomes]:
        """Store blobs; see :class:`IBlobsBackend`."""
        outcomes: Outcomes = []
        for name, content in blobs:
            error = self.taken(name)
            outcomes.append(error)
            if error is None:
                self.blobs[name] = _Kept(self.next_change(), content)
        return succeed(outcomes)

    def taken(self, name: BlobName) -> BlobError | None:
        """Make the error for a name that is not free; None if it is."""
        return BlobAlreadyExistsError(f"{name} exists") if name in self.blobs else None

    def delete(self, name: BlobName) -> Deferred[None]:
        """Delete a blob; see :class:`IBlobsBackend`."""

        def remove(_: _Kept) -> None:
            del self.blobs[name]
            self.tombstones[name] = _Kept(self.next_change())

        return self._with(name).addCallback(remove)

    def set_flags(self, name: BlobName, flags: Iterable[Flags]) -> Deferred[None]:
        """Replace flags; see :class:`IBlobsBackend`."""

        def replace(kept: _Kept) -> None:
            kept.flags = tuple(flags)

        return self._with(name).addCallback(replace)

    def get_flags(self, name: BlobName) -> Deferred[FlagList]:
        """Read flags; see :class:`IBlobsBackend`."""
        return self._with(name).addCallback(lambda kept: [*kept.flags])


@implementer(IUpload)
class _MemoryUpload:
    def __init__(self, name: BlobName, backend: MemoryBackend) -> None:
        self.name = name
        self.size = 0
        self._backend = backend
        self._content = bytearray()

    def write(self, pieces: Sequence[bytes | memoryview]) -> Deferred[None]:
        for piece in pieces:
            self._content += piece
        self.size = len(self._content)
        return succeed(None)

    def publish(self, flags: Iterable[Flags] = ()) -> Deferred[None]:
        error = self._backend.taken(self.name)
        if error:
            return fail(error)
        order = self._backend.next_change()
        self._backend.blobs[self.name] = _Kept(order, bytes(self._content), tuple(flags))
        return succeed(None)

    def discard(self) -> Deferred[None]:
        return succeed(None)


@implementer(IStoredBlob)
class MemoryBlob:
    """A blob whose bytes are in memory."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.size = len(content)
        self.tag = content[-TAG_SIZE:]

    def read(self, start: int, end: int) -> Deferred[bytes]:
        """Give a part; see :class:`IStoredBlob`."""
        return succeed(self.content[start:end])

    def close(self) -> None:
        """Do nothing."""
