"""Requests' bodies as they go up: sealed on their way from the store, never held whole."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IConsumer, IPushProducer
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from ..crypto import Rewrapper, Sealer
from ..interfaces import IPayload, Progress, no_progress
from ..wire.idle import IdleTimer
from .throttle import Throttle

AHEAD = 2
"""Chunks that are read while one is being sent."""

PIECE_SIZE = 256 * 1024
"""Bytes that are sealed and handed to the transport at a time."""


@implementer(IBodyProducer, IPushProducer)
class Body:
    """
    A body of known length that is written as fast as it is taken.

    Cancelling what ``startProducing`` returned stops it at once.

    :ivar length: in bytes.
    :ivar complete: whether all of it has been written.
    """

    def __init__(
        self, length: int, idle: IdleTimer, throttle: Throttle, progress: Progress
    ) -> None:
        self.length = length
        self.complete = False
        self._idle = idle
        self._throttle = throttle
        self._progress = progress
        self._sent = 0
        self._consumer: Any = None
        self._finished: Deferred[None] = Deferred(lambda _: self.stopProducing())
        self._work: Deferred[None] | None = None
        self._paused: Deferred[None] | None = None
        self._is_writing = False

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Begin. See :class:`IBodyProducer`."""
        self._consumer = consumer
        self._work = Deferred.fromCoroutine(self._produce())
        self._work.addCallbacks(self._ended, self._failed)
        return self._finished

    async def _produce(self) -> None:
        raise NotImplementedError

    def _ended(self, _: None) -> None:
        if self._let_go():
            self._finished.callback(None)

    def _failed(self, failure: Failure) -> None:
        if self._let_go():
            self._finished.errback(failure)

    def _let_go(self) -> bool:
        """Forget the consumer, and tell whether there was one: once stopped, nobody waits."""
        # It knows this body: what both hold should not wait for the garbage collector.
        consumer, self._consumer = self._consumer, None
        return consumer is not None

    def pauseProducing(self) -> None:
        """Write no more for now."""
        if self._paused is None:
            self._paused = Deferred()

    def resumeProducing(self) -> None:
        """Go on."""
        paused, self._paused = self._paused, None
        if paused is not None:
            paused.callback(None)

    def stopProducing(self) -> None:
        """Never write again; nobody is told."""
        self._consumer = None
        # Work can be cancelled while it waits. Else it finds out when it has written.
        if self._work is not None and not self._is_writing:
            self._work.cancel()

    def abort(self) -> None:
        """
        Give up an upload that the server has answered before its end, and close its connection.

        Twisted would go on to send the rest: it waits for the producer before it closes, and
        logs an error if the producer fails. The connection is behind the consumer.
        """
        transport = getattr(self._consumer, "_consumer", None)
        self.stopProducing()
        if transport is not None:
            transport.abortConnection()

    async def _write(self, data: bytes, last: bool = False) -> None:
        size = self._throttle.portion
        if size is None or size >= len(data):
            await self._write_portion(data, last)
            return
        for start in range(0, len(data), size):
            end = start + size
            await self._write_portion(data[start:end], last and end >= len(data))

    async def _write_portion(self, data: bytes, last: bool) -> None:
        turn = self._throttle.take(len(data))
        if turn is not None:
            self._idle.pause()
            await turn
            self._idle.reset()
        if self._paused is not None:
            await self._paused
        if self._consumer is None:
            raise CancelledError
        self.complete = last
        self._is_writing = True
        try:
            self._consumer.write(data)
            self._idle.reset()
            self._sent += len(data)
            self._progress(self._sent, self.length)
        finally:
            self._is_writing = False
        if self._consumer is None or self._idle.stopped:
            # Who was told of the progress has cancelled it.
            raise CancelledError
        if self._paused is not None:
            await self._paused
            self._idle.reset()


B = TypeVar("B", bound=Body)


class Bodies(Generic[B]):
    """
    Makes a body for each attempt at a request: none can be sent twice.

    :ivar last: the one of the present attempt, or of the first.
    """

    def __init__(self, make: Callable[[], B]) -> None:
        self._make = make
        self.last = make()
        self._is_used = False

    def __call__(self) -> B:
        """Give the body of the next attempt."""
        if self._is_used:
            self.last = self._make()
        self._is_used = True
        return self.last


class SealedBody(Body):
    """Reads a payload and seals it; the next chunk is read while the present one is sent."""

    def __init__(
        self,
        payload: IPayload,
        sealer: Sealer | Rewrapper,
        idle: IdleTimer,
        throttle: Throttle,
        progress: Progress = no_progress,
    ) -> None:
        super().__init__(sealer.sealed_size, idle, throttle, progress)
        self._payload = payload
        self._sealer = sealer

    @property
    def tag(self) -> bytes:
        """The tag of what was sealed, once all of it has been written."""
        return self._sealer.tag

    async def _produce(self) -> None:
        await self._write(self._sealer.header())
        following = deque(self._read(index) for index in range(AHEAD))
        try:
            for index in range(self._payload.chunk_count):
                self._idle.pause()
                chunk = memoryview(await following.popleft())
                self._idle.reset()
                following.append(self._read(index + AHEAD))
                for start in range(0, len(chunk), PIECE_SIZE):
                    await self._write(self._sealer.update(chunk[start : start + PIECE_SIZE]))
        finally:
            for reading in following:
                reading.addErrback(lambda _: None)
                reading.cancel()
        await self._write(self._sealer.finalize(), last=True)

    def _read(self, index: int) -> Deferred[bytes]:
        if index < self._payload.chunk_count:
            return self._payload.read_chunk(index)
        nothing: Deferred[bytes] = Deferred()
        return nothing


class SealedStream(Body):
    """
    Reads small payloads and seals them, one after another, behind a first line.

    :ivar tags: those of what has been sealed so far.
    """

    def __init__(
        self,
        first_line: bytes,
        payloads: Sequence[IPayload],
        sealers: Sequence[Sealer | Rewrapper],
        idle: IdleTimer,
        throttle: Throttle,
    ) -> None:
        size = sum(sealer.sealed_size for sealer in sealers)
        super().__init__(len(first_line) + size, idle, throttle, no_progress)
        self.tags: list[bytes] = []
        self._first_line = first_line
        self._parts = list(zip(payloads, sealers, strict=True))

    async def _produce(self) -> None:
        pieces: list[bytes | bytearray] = [self._first_line]
        size = len(self._first_line)
        # Only here from now on: this body is part of a cycle, and would keep what was sent.
        parts, self._parts = self._parts, []
        for payload, sealer in parts:
            content = payload.read_now()
            if content is None:
                chunks = [await payload.read_chunk(index) for index in range(payload.chunk_count)]
                content = b"".join(chunks)
            pieces += [sealer.header(), sealer.seal(content)]
            self.tags.append(sealer.tag)
            size += sealer.sealed_size
            if size >= PIECE_SIZE:
                await self._write(b"".join(pieces))
                pieces, size = [], 0
        await self._write(b"".join(pieces), last=True)


async def sealed_tag(payload: IPayload, sealer: Sealer | Rewrapper) -> bytes:
    """
    Seal a payload for its tag only.

    :param sealer: a new one.
    :return: the 16 bytes of the tag. Fails as reading the payload does.
    """
    for index in range(payload.chunk_count):
        chunk = memoryview(await payload.read_chunk(index))
        for start in range(0, len(chunk), PIECE_SIZE):
            sealer.update(chunk[start : start + PIECE_SIZE])
    sealer.finalize()
    return sealer.tag
