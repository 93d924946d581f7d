"""A store's database, built from one of Soledad's, and compared with it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

import apsw

from .. import disk
from ..errors import ClosedError, StoreError
from ..model import BlobKey
from ..sqlite import pragma, transaction
from . import payload_rows, records, schema
from .connection import connect
from .faults import store_errors
from .mapping import NewBlob, Tally
from .payload_rows import Payload
from .payload_writer import PayloadWriter
from .payloads import PayloadFiles
from .reader import Chunks
from .schema import CHUNK_SIZE
from .soledad import OldBlob, OldDatabase

__all__ = ["Rebuilding"]

_WRITING = ("journal_mode=OFF", "synchronous=OFF", "cache_size=-4096")
_STEP = 8
"""How many chunks of a large payload are written at once."""


class Rebuilding:
    """
    A database that is being built. Nobody else knows of it.

    :param path: where it is going to be; there is nothing yet.
    :param key: its raw key.
    :param payloads: where large payloads go.
    :param stopped: asked again and again; true ends the work with ``ClosedError``.
    """

    def __init__(
        self,
        path: Path,
        key: bytes,
        payloads: PayloadFiles,
        stopped: Callable[[], bool],
    ) -> None:
        self._path = path
        self._key = key
        self._payloads = payloads
        self._stopped = stopped
        self._written = _Fingerprint()

    def copy(self, old: OldDatabase, tally: Tally) -> None:
        """
        Build it, and bring it to the disk.

        :param tally: counts what is copied.
        :raise StoreError: one of the two can't be read or written.
        :raise ClosedError: it was stopped.
        """
        with store_errors(str(self._path)):
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL, 0o600))
            connection = connect(str(self._path), self._key, pragmas=_WRITING)
            try:
                schema.upgrade(connection, str(self._path))
                for blob in old.blobs():
                    new = tally.count(blob)
                    if new is not None:
                        self._copy_blob(connection, old, blob, new)
            finally:
                connection.close()
            disk.sync(self._path)

    def _copy_blob(
        self, connection: apsw.Connection, old: OldDatabase, blob: OldBlob, new: NewBlob
    ) -> None:
        size = blob.size if new.keeps_payload else None
        self._written.add_record(*new.key, new.status, new.priority, new.retries, size)
        self._written.add_record(new.external)
        payload = self._copy_payload(old, blob, new.external) if new.keeps_payload else None
        with transaction(connection):
            records.restore(connection, new.key, payload, new.status, new.priority, new.retries)

    def _copy_payload(self, old: OldDatabase, blob: OldBlob, external: bool) -> Payload:
        assert blob.size is not None
        # Soledad kept nothing of how it had sealed a blob.
        preamble = b""
        chunks = self._written.pass_on(self._until_stopped(old.read(blob)))
        if blob.size <= CHUNK_SIZE:
            return Payload(blob.size, preamble, external, content=b"".join(chunks))
        writer = self._copy_large(chunks, blob.size)
        return Payload.in_file(blob.size, preamble, external, writer)

    def _copy_large(self, chunks: Iterator[bytes], size: int) -> PayloadWriter:
        writer = self._payloads.writer()
        for _ in range(0, size, _STEP * CHUNK_SIZE):
            writer.append(islice(chunks, _STEP))
            if writer.begin_flush():
                writer.flush()
        writer.finish()
        return writer

    def _until_stopped(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            if self._stopped():
                raise ClosedError("the store was closed")
            yield chunk

    def verify(self) -> None:
        """
        Read all of it, and see whether it is what was copied.

        :raise StoreError: it is not, or it can't be read.
        :raise ClosedError: it was stopped.
        """
        found = _Fingerprint()
        with store_errors(str(self._path)):
            connection = connect(str(self._path), self._key, pragmas=("cache_size=-4096",))
            try:
                sound = pragma(connection, "integrity_check") == "ok"
                self._read(connection, found)
            finally:
                connection.close()
        if not sound or found != self._written:
            raise StoreError(f"{self._path} has not become what it was copied from")

    def _read(self, connection: apsw.Connection, found: _Fingerprint) -> None:
        rows = connection.execute(
            f"SELECT namespace, blob_id, status, priority, retries, {payload_rows.PAYLOAD_COLUMNS}"
            " FROM blobs LEFT JOIN payloads ON payloads.id = payload ORDER BY blobs.id"
        )
        for namespace, blob_id, status, priority, retries, size, *values in rows:
            found.add_record(namespace, blob_id, status, priority, retries, size)
            payload = None if size is None else payload_rows.payload_of(size, *values)
            found.add_record(payload is not None and payload.external)
            if payload is not None:
                key = BlobKey(namespace, blob_id)
                chunks = Chunks(key, payload, self._payloads, self._stopped)
                found.add_chunks(map(chunks.read, range(chunks.count)))


class _Fingerprint:
    """What tells one list of blobs, with their payloads, from another."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add_record(self, *values: str | int | None) -> None:
        plain = [
            value if isinstance(value, str) or value is None else int(value) for value in values
        ]
        self._hash.update(repr(plain).encode())

    def pass_on(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._hash.update(chunk)
            yield chunk

    def add_chunks(self, chunks: Iterable[bytes]) -> None:
        for _ in self.pass_on(chunks):
            pass

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Fingerprint) and self._hash.digest() == other._hash.digest()

    __hash__ = None  # type: ignore[assignment]
