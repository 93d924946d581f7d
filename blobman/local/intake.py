"""How content gets into the store: a payload first, then, in one transaction, its record."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import apsw
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from . import records
from .budget import ByteBudget
from .database import Database
from .payloads import PayloadWriter
from .records import Payload
from .schema import CHUNK_SIZE
from .source import Source

__all__ = ["Check", "Intake", "Record"]

Check = Callable[[apsw.Connection], None]
"""Raises what is to be told if a payload is not wanted."""

Record = Callable[[apsw.Connection, Payload], "int | None"]
"""Records a payload in a transaction; gives the row, or None if the payload is not wanted."""

_IN_MEMORY = 16 * CHUNK_SIZE
"""How many bytes of small files may be on their way into the database at once."""

_COPIES = 4
"""How many larger files are copied at a time."""

_STEP = 8
"""How many chunks of a file are copied before others get their turn."""


class Intake:
    """
    Brings payloads into a database.

    :param database: where to.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._budget = ByteBudget(_IN_MEMORY)
        self._copies = ByteBudget(_COPIES)

    async def take_small(
        self, source: Source, size: int, preamble: bytes, check: Check, record: Record
    ) -> None:
        """
        Store a file of at most one chunk: read it, then record it with its content.

        :param check: says whether the file is wanted at all.
        :raise BlobError: it could not be read, written or recorded; then nothing is left of it.
        """

        def read(connection: apsw.Connection) -> Payload:
            check(connection)
            return Payload(size, preamble, False, source.read_all())

        await self._budget.acquire(size)
        try:
            take_back = partial(self._take_back, None)
            await self._database.read_and_write(read, record, take_back)
        finally:
            self._budget.release(size)

    async def take_large(
        self, source: Source, size: int, preamble: bytes, check: Check, record: Record
    ) -> None:
        """
        Store a larger file: copy it, then record where it is.

        :param check: says whether the file is wanted at all.
        :raise BlobError: it could not be read, written or recorded; then nothing is left of it.
        """
        await self._database.read(check)
        # Each takes some megabytes while it is copied, whatever its size.
        await self._copies.acquire(1)
        try:
            writer = await self._copy(source, size)
        finally:
            self._copies.release(1)
        await self.publish(Payload(size, preamble, False, file=writer.file), writer, record)

    async def _copy(self, source: Source, size: int) -> PayloadWriter:
        database = self._database
        writer = database.payloads.writer()
        try:
            for _ in range(0, size, _STEP * CHUNK_SIZE):
                await database.handle_files(lambda: writer.append(source.chunks(_STEP)))
                self.flush(writer)
            await database.handle_files(writer.finish)
        except BaseException:
            self.discard(writer)
            raise
        return writer

    def flush(self, writer: PayloadWriter) -> None:
        """Have what has been written brought to the disk, if it is much."""
        if writer.begin_flush():
            self._database.handle_files(writer.flush).addErrback(lambda _: None)

    def publish(
        self, payload: Payload, writer: PayloadWriter | None, record: Record
    ) -> Deferred[None]:
        """
        Record a payload.

        :param writer: what wrote it, if it is large; it is finished.
        :return: fires when it is durable. Fails as ``record`` does, or with ``StoreError``;
            then nothing is left of the payload. Cancelling takes it back, even if that was
            too late to stop it.
        """
        done: Deferred[int | None] = self._database.write(
            lambda connection: record(connection, payload),
            partial(self._take_back, writer),
        )
        if writer is None:
            return done.addCallback(lambda _: None)
        return done.addCallbacks(partial(self._published, writer), partial(self._refused, writer))

    def _published(self, writer: PayloadWriter, row: int | None) -> Deferred[None] | None:
        return self.discard(writer) if row is None else None

    def _refused(self, writer: PayloadWriter, failure: Failure) -> Deferred[None] | Failure:
        # When it was cancelled it may still be committed: `_take_back` will know.
        if failure.check(CancelledError):
            return failure
        return self.discard(writer).addCallback(lambda _: failure)

    def _take_back(self, writer: PayloadWriter | None, row: int | None) -> None:
        if row is not None:
            removed = self._database.write(lambda connection: records.take_back(connection, row))
            if writer is None:
                removed.addErrback(lambda _: None)
            else:
                removed.addCallbacks(lambda _: self.discard(writer), lambda _: None)
        elif writer is not None:
            self.discard(writer)

    def discard(self, writer: PayloadWriter) -> Deferred[None]:
        """
        Remove a payload that is not recorded.

        :return: fires when it is gone, and never fails: when the store is being closed, or
            at the next start, what is left is removed.
        """
        return self._database.handle_files(writer.discard).addErrback(lambda _: None)
