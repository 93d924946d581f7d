"""A download on its way into the store."""

from __future__ import annotations

from typing import TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure
from zope.interface import implementer

from ..interfaces import IStagedBlob
from ..model import BlobKey
from . import batches
from .batches import Arrival
from .database import Database
from .intake import Intake
from .payload_rows import Payload
from .payload_writer import PayloadWriter
from .schema import CHUNK_SIZE

__all__ = ["StagedBlob"]

T = TypeVar("T")

_AHEAD = 4
"""How many full chunks may wait to be written before the sender is held back."""


@implementer(IStagedBlob)
class StagedBlob:
    """
    Takes bytes as they come: the first chunk in memory, what is more into a file.

    See :class:`~blobman.interfaces.IStagedBlob`.

    :param key: the blob that it is to become.
    :param replaces: whether it takes the place of a copy that is SYNCED.
    """

    def __init__(
        self, database: Database, intake: Intake, key: BlobKey, replaces: bool = False
    ) -> None:
        self._database = database
        self._intake = intake
        self._key = key
        self._replaces = replaces
        self._size = 0
        self._chunk = bytearray()
        self._filled = 0
        self._full: list[bytearray | memoryview] = []
        self._in_flight: list[bytearray | memoryview] = []
        self._spare: list[bytearray] = []
        self._writer: PayloadWriter | None = None
        self._error: BaseException | None = None
        self._waiting: list[Deferred[None]] = []
        self._idle: Deferred[None] | None = None
        self._publishing: Deferred[None] | None = None
        self._ended = False

    def write(self, data: bytes | bytearray | memoryview) -> Deferred[None] | None:
        """See :meth:`blobman.interfaces.IStagedBlob.write`; what comes after an end is dropped."""
        if self._error is not None:
            return fail(self._error)
        if self._ended:
            return None
        self._take(memoryview(data).cast("B"))
        self._write_full()
        if len(self._in_flight) + len(self._full) <= _AHEAD:
            return None
        waiting: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        return waiting

    def _take(self, data: memoryview) -> None:
        self._size += len(data)
        while data:
            if self._filled == CHUNK_SIZE:
                self._full.append(self._chunk)
                # Memory that was used before costs less than new one, which comes page by page.
                self._chunk = self._spare.pop() if self._spare else bytearray(CHUNK_SIZE)
                self._filled = 0
            part = data[: CHUNK_SIZE - self._filled]
            end = self._filled + len(part)
            if len(self._chunk) < end:
                self._chunk += part
            else:
                memoryview(self._chunk)[self._filled : end] = part
            self._filled = end
            data = data[len(part) :]

    def _write_full(self) -> None:
        if self._in_flight or not self._full:
            return
        chunks, self._full = self._full, []
        self._in_flight = chunks
        writer = self._writer = self._writer or self._database.payloads.writer()
        job = self._database.handle_files(lambda: writer.append(chunks))
        job.addCallbacks(self._written, self._failed)

    def _written(self, _: None) -> None:
        self._spare += [chunk for chunk in self._in_flight if isinstance(chunk, bytearray)]
        self._in_flight = []
        self._write_full()
        if self._writer is not None:
            self._intake.flush(self._writer)
        if len(self._in_flight) <= _AHEAD:
            self._wake()

    def _failed(self, failure: Failure) -> None:
        self._in_flight = []
        self._error = failure.value
        self._full.clear()
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.errback(failure)
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.callback(None)
        if self._idle is not None and not self._in_flight:
            idle, self._idle = self._idle, None
            idle.callback(None)

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

        def arrival(payload: Payload) -> Arrival:
            return Arrival(self._key, payload, self._replaces, tag, sealed_size)

        async def publish_large() -> None:
            await self._finish()
            writer, self._writer = self._writer, None
            assert writer is not None
            payload = Payload.in_file(self._size, preamble, external, writer)
            await self._record(arrival(payload), writer)

        if self._writer is None and not self._full:
            content, self._chunk = self._chunk, bytearray()
            payload = Payload(self._size, preamble, external, content)
            self._publishing = self._record(arrival(payload), None)
        else:
            self._publishing = Deferred.fromCoroutine(publish_large())
        return self._publishing

    def _record(self, arrival: Arrival, writer: PayloadWriter | None) -> Deferred[None]:
        recorded = self._intake.publish(batches.publish, arrival, writer)
        return recorded.addCallback(self._sweep) if self._replaces else recorded

    def _sweep(self, _: None) -> Deferred[None]:
        return self._database.remove_going()

    async def _finish(self) -> None:
        """Bring what is left to the disk."""
        try:
            self._full.append(memoryview(self._chunk)[: self._filled])
            self._chunk = bytearray()
            self._write_full()
            if self._in_flight:
                self._idle = Deferred()
                await self._idle
            if self._error is not None:
                raise self._error
            assert self._writer is not None
            await self._database.handle_files(self._writer.finish)
        except BaseException:
            await self._drop()
            raise

    def discard(self) -> Deferred[None]:
        """See :meth:`blobman.interfaces.IStagedBlob.discard`. It cancels ``publish``."""
        self._ended = True
        over: Deferred[None] = Deferred()
        if self._publishing is None:
            over.callback(None)
        else:
            self._publishing.cancel()
            self._publishing.addBoth(_pass_on, over)
        dropped = self._drop()
        self._wake()
        return dropped.addCallback(lambda _: over)

    def _drop(self) -> Deferred[None]:
        self._chunk = bytearray()
        self._full.clear()
        self._spare.clear()
        writer, self._writer = self._writer, None
        return succeed(None) if writer is None else self._intake.discard(writer)


def _pass_on(result: T, over: Deferred[None]) -> T:
    over.callback(None)
    return result
