"""The store: blobs, encrypted on this machine's disk, and how each stands with the server."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar

import apsw
from twisted.internet.defer import Deferred, execute, fail, succeed
from twisted.internet.interfaces import IReactorFromThreads
from zope.interface import implementer

from ..document import BlobReader
from ..errors import StoreError, describe
from ..interfaces import IBlobStore, Ids, IPayload
from ..model import BlobKey, Priority, SyncStatus, check_key, check_name, check_size
from . import batches, listings, records
from .batches import Entry
from .connection import as_bytes
from .database import Database
from .following import FollowingStore
from .intake import Intake
from .payload_rows import Payload
from .payload_writer import PayloadWriter
from .reader import Chunks, open_reader
from .recent import Recent, RecentPayloads
from .records import Removed
from .schema import CHUNK_SIZE
from .source import Source
from .staging import StagedBlob

__all__ = ["BlobStore", "StoredPayload"]

T = TypeVar("T")

FindPayloads = Callable[[apsw.Connection, Sequence[BlobKey]], dict[BlobKey, Payload]]

_PUT = (SyncStatus.PENDING_UPLOAD, SyncStatus.LOCAL_ONLY)


_RECENT = 4 * 1024 * 1024
"""Bytes of what need not be read again for its upload."""

_RECENT_LARGEST = 128 * 1024
"""Bytes of the largest content among them: a larger one is uploaded in parts, as it is read."""


def _find_pending(
    connection: apsw.Connection,
    keys: Sequence[BlobKey],
    recent: dict[BlobKey, Recent],
    max_size: int,
) -> dict[BlobKey, Payload]:
    known = {key: recent[key] for key in keys if key in recent}
    found: dict[BlobKey, Payload] = {}
    if known and batches.are_pending(connection, [it.number for it in known.values()]):
        found = {key: it.payload for key, it in known.items() if it.payload.size <= max_size}
        keys = [key for key in keys if key not in known]
    return found | batches.find_pending_uploads(connection, keys, max_size)


@implementer(IPayload)
class StoredPayload:
    """A local copy, for an upload; see :class:`~blobman.interfaces.IPayload`."""

    def __init__(self, chunks: Chunks, database: Database) -> None:
        self.size = chunks.payload.size
        self.preamble = chunks.payload.preamble
        self.external = chunks.payload.external
        self.chunk_count = chunks.count
        self._chunks = chunks
        self._database = database

    def read_now(self) -> bytes | None:
        """See :meth:`blobman.interfaces.IPayload.read_now`."""
        return None if self._chunks.payload.content is None else self._chunks.read(0)

    def read_chunk(self, index: int) -> Deferred[bytes]:
        """See :meth:`blobman.interfaces.IPayload.read_chunk`."""
        if self._chunks.payload.content is not None:
            return execute(self._chunks.read, index)
        return self._database.read(lambda _: self._chunks.read(index))


@implementer(IBlobStore)
class BlobStore(FollowingStore):
    """
    A user's blobs in an encrypted SQLite database, ``{local_path}/{user}_blobs.db``.

    The files are made, and opened, when the first method needs them. Several stores, in this
    process and in others, may use the same folder at once. See
    :class:`~blobman.interfaces.IBlobStore` for the methods. A database of Soledad that is there
    is taken over first, and kept as ``{user}_blobs.db.soledad``.

    :param local_path: the folder; it is made if need be, readable for nobody else.
    :param user: whose blobs.
    :param key: what opens the database; a ``str`` stands for its Latin-1 bytes.
    :param reactor: the reactor in whose thread the Deferreds fire; None for the global one.
    :param patience: how many seconds a write waits while other processes write.
    :param external_namespaces: where others have put blobs, if Soledad's are taken over; besides
        ``MX``, where its server delivers.
    :raise ValueError: the user is not a name, or the key is empty or not Latin-1.
    :raise TypeError: one of them is of another type.
    """

    def __init__(
        self,
        local_path: str | os.PathLike[str],
        user: str,
        key: bytes | str,
        *,
        reactor: IReactorFromThreads | None = None,
        patience: float = 60.0,
        external_namespaces: Collection[str] = (),
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor  # type: ignore[assignment]
        check_name("user", user)
        path = Path(os.path.abspath(local_path)) / f"{user}_blobs.db"
        assert reactor is not None
        super().__init__(Database(path, as_bytes(key), reactor, patience, external_namespaces))
        self._intake = Intake(self._database)
        self._recent = RecentPayloads(_RECENT, _RECENT_LARGEST)

    def __repr__(self) -> str:
        return f"<BlobStore {self._database.path}>"

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
        """See :meth:`blobman.interfaces.IBlobStore.put`. Cancelling it leaves nothing behind."""
        try:
            key = check_key(blob_id, namespace)
            return self._begin_put(key, blob_fd, size, status, priority, preamble)
        except (TypeError, ValueError):
            return fail()

    def _begin_put(
        self,
        key: BlobKey,
        blob_fd: BinaryIO,
        size: int,
        status: SyncStatus,
        priority: Priority,
        preamble: bytes,
    ) -> Deferred[None]:
        if status not in _PUT:
            raise ValueError(f"status must be PENDING_UPLOAD or LOCAL_ONLY, not {status!r}")
        name = describe(key.blob_id, key.namespace)
        source = Source(blob_fd, check_size(size), CHUNK_SIZE, name)

        entries: list[Entry] = []

        def entry(content: bytes | PayloadWriter) -> Entry:
            if isinstance(content, PayloadWriter):
                payload = Payload.in_file(size, preamble, False, content)
            else:
                payload = Payload(size, preamble, False, content)
            entries[:] = [Entry(key, payload, status, priority)]
            return entries[0]

        if size > CHUNK_SIZE:
            return Deferred.fromCoroutine(self._intake.take_large(source, size, key, entry))
        storing = self._intake.take_small(source, size, key, entry)
        return storing.addCallback(self._stored, entries)

    def _stored(self, number: int | None, entries: list[Entry]) -> None:
        ((key, payload, status, _),) = entries
        if number is not None and status is SyncStatus.PENDING_UPLOAD:
            self._recent.keep(key, Recent(number, payload))

    def get(self, blob_id: str, namespace: str = "") -> Deferred[BlobReader | None]:
        """See :meth:`blobman.interfaces.IBlobStore.get`."""
        try:
            key = check_key(blob_id, namespace)
        except (TypeError, ValueError):
            return fail()
        return self._database.read_together(self._open_readers, key)

    def _open_readers(
        self, connection: apsw.Connection, keys: Sequence[BlobKey]
    ) -> list[BlobReader | None]:
        find = partial(batches.find_payloads, hidden=False)
        found = self._find_chunks(connection, keys, find)
        return [open_reader(found[key]) if key in found else None for key in keys]

    def open_payload(self, blob_id: str, namespace: str = "") -> Deferred[IPayload | None]:
        """See :meth:`blobman.interfaces.IBlobStore.open_payload`."""

        def open_it(connection: apsw.Connection, key: BlobKey) -> IPayload | None:
            find = partial(batches.find_payloads, hidden=True)
            chunks = self._find_chunks(connection, [key], find).get(key)
            return None if chunks is None else StoredPayload(chunks, self._database)

        self._is_recent_no_more(blob_id, namespace)
        return self._read_about(blob_id, namespace, open_it)

    def record_preamble(self, blob_id: str, preamble: bytes, namespace: str = "") -> Deferred[None]:
        """See :meth:`blobman.interfaces.IBlobStore.record_preamble`."""
        record = partial(records.record_preamble, preamble=preamble)
        return self._write_about(blob_id, namespace, record)

    def open_pending_uploads(
        self, blob_ids: Ids, namespace: str, max_size: int
    ) -> Deferred[dict[str, IPayload]]:
        """See :meth:`blobman.interfaces.IBlobStore.open_pending_uploads`."""
        try:
            keys = [check_key(blob_id, namespace) for blob_id in blob_ids]
        except (TypeError, ValueError):
            return fail()
        recent = self._recent.take(keys)

        def open_them(connection: apsw.Connection) -> dict[str, IPayload]:
            find = partial(_find_pending, recent=recent, max_size=max_size)
            found = self._find_chunks(connection, keys, find)
            return {key.blob_id: StoredPayload(it, self._database) for key, it in found.items()}

        return self._database.read(open_them)

    def _find_chunks(
        self, connection: apsw.Connection, keys: Sequence[BlobKey], find: FindPayloads
    ) -> dict[BlobKey, Chunks]:
        database = self._database
        found: dict[BlobKey, Chunks] = {}
        for key, payload in find(connection, keys).items():
            chunks = Chunks(key, payload, database.payloads, database.is_closed)
            if chunks.open():
                found[key] = chunks
            elif find(connection, [key]).get(key) == payload:
                name = describe(key.blob_id, key.namespace)
                folder = database.payloads.folder
                raise StoreError(f"{name} is damaged: its file in {folder} is missing")
            # Else it was deleted meanwhile.
        return found

    def _is_recent_no_more(self, blob_id: object, namespace: object) -> None:
        # Wrong names are reported where they are used.
        with suppress(TypeError, ValueError):
            self._recent.take([check_key(blob_id, namespace)])

    def _write_about(
        self,
        blob_id: str,
        namespace: str,
        work: Callable[[apsw.Connection, BlobKey], T],
        undo: Callable[[T | None], object] | None = None,
    ) -> Deferred[T]:
        self._is_recent_no_more(blob_id, namespace)
        return super()._write_about(blob_id, namespace, work, undo)

    def stage(self, blob_id: str, namespace: str = "", replace: bool = False) -> StagedBlob:
        """See :meth:`blobman.interfaces.IBlobStore.stage`."""
        return StagedBlob(self._database, self._intake, check_key(blob_id, namespace), replace)

    def exists(self, blob_id: str, namespace: str = "") -> Deferred[bool]:
        """See :meth:`blobman.interfaces.IBlobStore.exists`."""
        return self._read_about(blob_id, namespace, listings.is_available)

    def delete(self, blob_id: str, namespace: str = "") -> Deferred[bool]:
        """See :meth:`blobman.interfaces.IBlobStore.delete`."""
        return self._remove(blob_id, namespace, records.remove)

    def fetch_instead(self, blob_id: str, namespace: str = "") -> Deferred[None]:
        """See :meth:`blobman.interfaces.IBlobStore.fetch_instead`."""
        removing = self._remove(blob_id, namespace, records.fetch_instead)
        return removing.addCallback(lambda _: None)

    def _remove(
        self, blob_id: str, namespace: str, remove: Callable[[apsw.Connection, BlobKey], Removed]
    ) -> Deferred[bool]:
        def remove_files(removed: Removed | None) -> Deferred[bool]:
            if removed is None or removed.file is None:
                return succeed(removed is not None and removed.had_copy)
            return self._database.remove_files([removed.file]).addCallback(lambda _: True)

        removing = self._write_about(blob_id, namespace, remove, remove_files)
        return removing.addCallback(remove_files)
