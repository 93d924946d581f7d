"""A blob on its way out: :class:`StoredBlob`, which writes itself to a consumer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.interfaces import IConsumer, IPushProducer
from zope.interface import implementer

from ...errors import ClosedError
from ...protocol import TAG_SIZE
from .catalogue.interface import Entry
from .digests import CHUNK, check_chunk
from .interface import SMALL, DamagedError, IStoredBlob
from .payloads.interface import IPayload, IPayloads

T = TypeVar("T")

Read = Callable[[int, int], Deferred[bytes]]
"""Reads the bytes from one place to before another one, and checks them."""


@implementer(IStoredBlob)
class StoredBlob:
    """
    A blob.

    :param payload: where its bytes are, if the entry does not have them.
    """

    def __init__(self, entry: Entry, payload: IPayload | None = None) -> None:
        self.size = entry.size
        self.tag = entry.tag
        self.content = entry.content
        self._digests = entry.digests
        self._payload = payload
        self._is_closed = False

    def write_to(
        self, consumer: IConsumer, start: int = 0, end: int | None = None
    ) -> Deferred[None]:
        """Write a part of it; see :class:`IStoredBlob`."""
        end = self.size if end is None else end
        if self._payload is not None and self.content is None and start < end:
            self._payload.read_ahead(self._bounds(start)[0], self._bounds(end - 1)[1])
        return _Writing(consumer, self._read).begin(start, end)

    def _bounds(self, place: int) -> tuple[int, int]:
        """Tell what has to be read for the byte at a place."""
        if not self._digests:
            return place, place + 1
        start = place // CHUNK * CHUNK
        return start, min(start + CHUNK, self.size)

    def _read(self, start: int, end: int) -> Deferred[bytes]:
        if start >= end:
            return succeed(b"")
        if self.content is not None:
            return succeed(self.content[start:end])
        assert self._payload is not None
        if self._is_closed:
            return fail(ClosedError("the blob was closed"))
        if not self._digests:
            return self._payload.read(start, end)
        first, last = self._bounds(start)

        def check(chunk: bytes) -> bytes:
            check_chunk(self._digests, first // CHUNK, chunk)
            return chunk[start - first : end - first]

        return self._payload.read(first, last).addCallback(check)

    def close(self) -> None:
        """Release it; see :class:`IStoredBlob`."""
        if not self._is_closed:
            self._is_closed = True
            if self._payload is not None:
                self._payload.close()


async def open_payload(entry: Entry, payloads: IPayloads) -> StoredBlob:
    """
    Open a blob that is a payload; read it, if it is small.

    :return: it. Raises ``DamagedError`` if the payload is missing, or can be seen to be another
        one than was recorded; one that was adopted has no digests, but its tag tells.
    """
    assert entry.key is not None
    payload = await payloads.get(entry.key, SMALL if entry.size <= SMALL else 0)
    try:
        await _check(entry, payload)
    except BaseException:
        payload.close()
        raise
    return StoredBlob(entry._replace(content=payload.content), payload)


async def _check(entry: Entry, payload: IPayload) -> None:
    is_same = payload.size == entry.size
    if is_same and not entry.digests:
        tag = await payload.read(max(entry.size - TAG_SIZE, 0), entry.size)
        is_same = tag == entry.tag
    if not is_same:
        raise DamagedError("a payload is not as it was written")
    if payload.content is not None:
        check_chunk(entry.digests, 0, payload.content)


@implementer(IPushProducer)
class _Writing:
    """Writes chunk after chunk. The next one is read while one is being written."""

    def __init__(self, consumer: IConsumer, read: Read) -> None:
        self._consumer = consumer
        self._read = read
        self._is_registered = False
        self._is_stopped = False
        self._resumed: Deferred[None] = succeed(None)
        self._waiting: Deferred[Any] = self._resumed

    def begin(self, start: int, end: int) -> Deferred[None]:
        done: Deferred[None] = Deferred(lambda _: self.stopProducing())

        def ended(result: None) -> None:
            # It has been called if it was cancelled while this was not waiting, but writing.
            if not done.called:
                done.callback(result)

        self._is_registered = True
        self._consumer.registerProducer(self, True)
        Deferred.fromCoroutine(self._write(start, end)).addBoth(ended)
        return done

    async def _write(self, start: int, end: int) -> None:
        ends = [*range((start // CHUNK + 1) * CHUNK, end, CHUNK), end]
        ahead = self._read(start, ends[0])
        try:
            for stop, next_stop in zip(ends, [*ends[1:], end], strict=True):
                data, ahead = await self._wait_for(ahead), self._read(stop, next_stop)
                if data:
                    self._consumer.write(data)
                await self._wait_for(self._resumed)
        finally:
            # A read that nobody waits for any more may fail as it likes.
            ahead.addErrback(lambda _: b"")
            self._unregister()

    def _unregister(self) -> None:
        if self._is_registered:
            self._is_registered = False
            self._consumer.unregisterProducer()

    async def _wait_for(self, deferred: Deferred[T]) -> T:
        """Wait, unless this has been stopped: it may be while it is not waiting, but writing."""
        if not self._is_stopped:
            self._waiting = deferred
            result = await deferred
            if not self._is_stopped:
                return result
        raise CancelledError

    def pauseProducing(self) -> None:
        if self._resumed.called:
            self._resumed = Deferred()

    def resumeProducing(self) -> None:
        if not self._resumed.called:
            self._resumed.callback(None)

    def stopProducing(self) -> None:
        self._is_stopped = True
        self._unregister()
        self._waiting.cancel()
