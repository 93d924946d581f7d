"""Bodies on their way: sealed as they go up, opened as they come down, never held whole."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IConsumer, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.iweb import IBodyProducer, IResponse
from zope.interface import implementer

from ..crypto import Opener, Rewrapper, Sealer, make_sealer
from ..errors import ServerError
from ..interfaces import IPayload, IStagedBlob, Progress, no_progress
from .idle import IdleTimer

PIECE_SIZE = 256 * 1024
"""Bytes that are sealed and handed to the transport at a time."""


@implementer(IBodyProducer, IPushProducer)
class SealedBody:
    """
    A body of known length that reads a payload, seals it, and writes it as fast as it is taken.

    The next chunk is read while the present one is sent. Cancelling what ``startProducing``
    returned stops it at once.

    :ivar length: the sealed size in bytes.
    :ivar complete: whether all of it has been written.
    """

    def __init__(
        self,
        payload: IPayload,
        sealer: Sealer | Rewrapper,
        idle: IdleTimer,
        progress: Progress = no_progress,
    ) -> None:
        self.length = sealer.sealed_size
        self.complete = False
        self._payload = payload
        self._sealer = sealer
        self._idle = idle
        self._progress = progress
        self._sent = 0
        self._consumer: Any = None
        self._finished: Deferred[None] = Deferred(lambda _: self.stopProducing())
        self._work: Deferred[None] | None = None
        self._paused: Deferred[None] | None = None

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Begin. See :class:`IBodyProducer`."""
        self._consumer = consumer
        self._work = Deferred.fromCoroutine(self._produce())
        self._work.addCallbacks(self._finished.callback, self._failed)
        return self._finished

    def _failed(self, failure: Failure) -> None:
        # Once stopped, nobody waits for the end any more.
        if self._consumer is not None:
            self._finished.errback(failure)

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
        if self._work is not None:
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

    async def _produce(self) -> None:
        await self._write(self._sealer.header())
        following = self._read(0)
        try:
            for index in range(self._payload.chunk_count):
                self._idle.pause()
                chunk = memoryview(await following)
                self._idle.reset()
                following = self._read(index + 1)
                for start in range(0, len(chunk), PIECE_SIZE):
                    await self._write(self._sealer.update(chunk[start : start + PIECE_SIZE]))
        finally:
            following.addErrback(lambda _: None)
            following.cancel()
        tag = self._sealer.finalize()
        self.complete = True
        await self._write(tag)

    def _read(self, index: int) -> Deferred[bytes]:
        if index < self._payload.chunk_count:
            return self._payload.read_chunk(index)
        nothing: Deferred[bytes] = Deferred()
        return nothing

    async def _write(self, data: bytes) -> None:
        if self._consumer is None:
            raise CancelledError
        self._consumer.write(data)
        self._idle.reset()
        self._sent += len(data)
        self._progress(self._sent, self.length)
        if self._paused is not None:
            await self._paused
            self._idle.reset()


class _Receiver(Protocol):
    """
    What every receiver of an answer's body does.

    :ivar finished: fires with None at the body's end, or fails: with what ``_take`` raised, or
        with what Twisted says became of the connection. Cancelling it closes the connection.
    """

    def __init__(self, idle: IdleTimer) -> None:
        self.finished: Deferred[None] = Deferred(lambda _: self._close())
        self._idle = idle

    def dataReceived(self, data: bytes) -> None:
        self._idle.reset()
        if not self.finished.called:
            try:
                self._take(data)
            except Exception:
                self._fail(Failure())

    def _take(self, data: bytes) -> None:
        raise NotImplementedError

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.finished.called:
            return
        if reason.check(ResponseDone):
            self.finished.callback(None)
        else:
            self.finished.errback(reason)

    def _fail(self, failure: Failure) -> None:
        if not self.finished.called:
            self.finished.errback(failure)
            self._close()

    def _close(self) -> None:
        # Not loseConnection: over TLS that waits for the other side, which may be silent.
        if self.transport is not None:
            self.transport.stopProducing()  # type: ignore[attr-defined]


class Collector(_Receiver):
    """
    Collects a small body.

    :ivar body: the bytes so far.
    """

    def __init__(self, idle: IdleTimer, limit: int) -> None:
        """
        Collect.

        :param limit: in bytes; a longer body fails with ``ServerError``.
        """
        super().__init__(idle)
        self.body = bytearray()
        self._limit = limit

    def _take(self, data: bytes) -> None:
        if len(self.body) + len(data) > self._limit:
            raise ServerError(f"the answer is longer than {self._limit} bytes")
        self.body += data


class OpeningReceiver(_Receiver):
    """
    Opens a sealed blob as it comes and stages its cleartext.

    When the store is slower than the wire, the connection is paused. The tag is not verified
    here: ``opener.finish()`` is up to who waits for ``finished``.
    """

    def __init__(
        self,
        opener: Opener,
        staged: IStagedBlob,
        idle: IdleTimer,
        total: int,
        progress: Progress = no_progress,
    ) -> None:
        super().__init__(idle)
        self._opener = opener
        self._staged = staged
        self._total = total
        self._progress = progress
        self._received = 0
        self._waiting = 0
        self._end: Failure | None = None

    def _take(self, data: bytes) -> None:
        self._received += len(data)
        cleartext = self._opener.feed(data)
        if cleartext:
            stored = self._staged.write(cleartext)
            if stored is not None:
                self._wait(stored)
        self._progress(self._received, self._total)

    def _wait(self, stored: Deferred[None]) -> None:
        self._waiting += 1
        if self._waiting == 1:
            self.transport.pauseProducing()  # type: ignore[union-attr]
            self._idle.pause()
        stored.addCallbacks(self._stored, self._fail)

    def _stored(self, _: object) -> None:
        self._waiting -= 1
        if self._waiting or self.finished.called:
            return
        self._idle.reset()
        if self._end is not None:
            super().connectionLost(self._end)
        else:
            self.transport.resumeProducing()  # type: ignore[union-attr]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """End, as soon as the store has taken what came."""
        if self._waiting:
            self._end = reason
        else:
            super().connectionLost(reason)


def deliver(response: IResponse, receiver: _Receiver) -> Deferred[None]:
    """
    Let a receiver have an answer's body.

    :return: its ``finished``.
    """
    response.deliverBody(receiver)
    return receiver.finished


async def sealed_tag(payload: IPayload, secret: bytes) -> bytes:
    """
    Seal a payload for its tag only.

    :return: the 16 bytes of the tag. Fails as reading the payload does.
    """
    sealer = make_sealer(secret, payload.preamble, payload.size)
    for index in range(payload.chunk_count):
        chunk = memoryview(await payload.read_chunk(index))
        for start in range(0, len(chunk), PIECE_SIZE):
            sealer.update(chunk[start : start + PIECE_SIZE])
    sealer.finalize()
    return sealer.tag
