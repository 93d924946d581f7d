"""How content gets into the store: a payload first, then, in one transaction, its record."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import apsw
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.python.failure import Failure

from ..model import BlobKey
from . import batches, records
from .batches import Arrival, Entry
from .budget import ByteBudget
from .database import Database
from .payload_writer import PayloadWriter
from .schema import CHUNK_SIZE
from .source import Source
from .workers import Kind

__all__ = ["Intake"]

T = TypeVar("T")

NewEntry = Callable[["bytes | PayloadWriter"], Entry]
"""Makes the entry of a blob, given its content or what wrote its file."""

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

    def take_small(
        self, source: Source, size: int, key: BlobKey, entry: NewEntry
    ) -> Deferred[int | None]:
        """
        Store a file of at most one chunk: read it, then record it with its content.

        :param entry: says how it is to be recorded.
        :return: fires with the number of its payload. Fails with a ``BlobError``: it could not be
            read, written or recorded; then nothing is left of it.
        """

        def read(connection: apsw.Connection) -> Entry:
            records.check_absent(connection, key)
            return entry(source.read_all())

        def take(_: None = None) -> Deferred[int | None]:
            undo = partial(self._take_back, None)
            try:
                content = source.read_now()
                if content is None:
                    taking = self._database.read_and_write(read, batches.add_new, undo)
                else:
                    taking = self._database.write_together(batches.add_new, entry(content), undo)
            except BaseException:
                self._budget.release(size)
                raise
            return taking.addBoth(release)

        def release(result: T) -> T:
            self._budget.release(size)
            return result

        return take() if self._budget.take(size) else self._budget.acquire(size).addCallback(take)

    async def take_large(self, source: Source, size: int, key: BlobKey, entry: NewEntry) -> None:
        """
        Store a larger file: copy it, then record where it is.

        :param entry: says how it is to be recorded.
        :raise BlobError: it could not be read, written or recorded; then nothing is left of it.
        """
        await self._database.read(partial(records.check_absent, key=key))
        # Each takes some megabytes while it is copied, whatever its size.
        await self._copies.acquire(1)
        try:
            writer = await self._copy(source, size)
        finally:
            self._copies.release(1)
        await self.publish(batches.add_new, entry(writer), writer)

    async def _copy(self, source: Source, size: int) -> PayloadWriter:
        database = self._database
        writer = database.payloads.writer()
        try:
            for _ in range(0, size, _STEP * CHUNK_SIZE):
                await database.handle_files(lambda: writer.append(source.chunks(_STEP)))
                self.flush(writer)
            await database.handle_files(writer.finish)
        except BaseException:
            await self.discard(writer)
            raise
        return writer

    def flush(self, writer: PayloadWriter) -> None:
        """Have what has been written brought to the disk, if it is much."""
        if writer.begin_flush():
            self._database.handle_files(writer.flush).addErrback(lambda _: None)

    def publish(
        self, kind: Kind[int | None], item: Entry | Arrival, writer: PayloadWriter | None
    ) -> Deferred[None]:
        """
        Record a payload.

        :param kind: records some; gives their numbers, or None for those that are not wanted.
        :param writer: what wrote it, if it is large; it is finished.
        :return: fires when it is durable. Fails as ``kind`` does, or with ``StoreError``;
            then nothing is left of the payload. Cancelling takes it back, even if that was
            too late to stop it, unless it has replaced another one.
        """
        replaces = isinstance(item, Arrival) and item.replaces
        undo = partial(self._take_back, writer, is_kept=replaces)
        if writer is None:
            done = self._database.write_together(kind, item, undo)
            return done.addCallback(lambda _: None)
        done = self._database.write(lambda connection: kind(connection, [item])[0], undo)
        return done.addCallbacks(partial(self._published, writer), partial(self._refused, writer))

    def _published(self, writer: PayloadWriter, payload: int | None) -> Deferred[None] | None:
        return self.discard(writer) if payload is None else None

    def _refused(self, writer: PayloadWriter, failure: Failure) -> Deferred[None] | Failure:
        # When it was cancelled it may still be committed: `_take_back` will know.
        if failure.check(CancelledError):
            return failure
        return self.discard(writer).addCallback(lambda _: failure)

    def _take_back(
        self, writer: PayloadWriter | None, payload: int | None, is_kept: bool = False
    ) -> Deferred[None]:
        if payload is not None:
            if is_kept:
                return succeed(None)
            work = partial(records.take_back, payload=payload)
            removed = self._database.write(work, uses_reserve=True)
            if writer is None:
                return removed.addErrback(lambda _: None)
            return removed.addCallbacks(lambda _: self.discard(writer), lambda _: None)
        return succeed(None) if writer is None else self.discard(writer)

    def discard(self, writer: PayloadWriter) -> Deferred[None]:
        """
        Remove a payload that is not recorded.

        :return: fires when it is gone, and never fails: when the store is being closed, or
            at the next start, what is left is removed.
        """
        return self._database.handle_files(writer.discard).addErrback(lambda _: None)
