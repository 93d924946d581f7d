"""A request that has been sent, or is being sent, and its answer: :class:`Exchange`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.iweb import IResponse

from .....errors import BlobError, CertificateError
from .....protocol import ProtocolError
from .....wire.failures import transfer_error, was_cancelled
from .....wire.idle import IdleTimer
from .....wire.pool import DiedUnusedError
from .....wire.receivers import Collector, Receiver, deliver
from ...interface import UnavailableError
from .answers import SOON, Answer, MaybeLaterError, refusal
from .sending import Sending, StoppedError
from .signing import Chunks

LIMIT = 4 * 1024 * 1024
"""Bytes of the longest answer that is read: a list of a thousand keys has a tenth of it."""

T = TypeVar("T")


class Exchange:
    """
    A request, which ends when nothing has moved for a while.

    :param host: whom it is to, for messages.
    :param requested: gives the response.
    :param sending: its content; None if it has none.
    :param chunks: signs the content, if it is signed in chunks.
    :param ended: called once, with the status of the answer, or 0, and how many bytes of content
        were sent and received.
    :ivar chunks: the same.
    :ivar idle: runs out when nothing has moved.
    """

    def __init__(
        self,
        host: str,
        requested: Deferred[IResponse],
        sending: Sending | None,
        chunks: Chunks,
        clock: IReactorTime,
        patience: float,
        ended: Callable[[int, int, int], object],
    ) -> None:
        self.chunks = chunks
        self._host = host
        self._requested = requested
        self._sending = sending
        self._patience = patience
        self._ended: Callable[[int, int, int], object] | None = ended
        self._sent = 0
        self._response: IResponse | Failure | None = None
        self._has_come: Deferred[None] = Deferred(lambda _: self.abort())
        self._receiver: Receiver | None = None
        self.idle = IdleTimer(clock, patience, self.abort)
        requested.addBoth(self._take)

    def _take(self, response: IResponse | Failure) -> None:
        self._response = response
        if self._sending is not None:
            # It may have been answered before all of it was sent.
            self._sending.stopProducing()
        if not self._has_come.called:
            self._has_come.callback(None)

    def end(self, status: int = 0) -> None:
        """Take it for ended; do nothing if it has."""
        self.idle.stop()
        ended, self._ended = self._ended, None
        if ended is not None:
            ended(status, self._sent, self._receiver.received if self._receiver else 0)

    def abort(self) -> None:
        """Close its connection. Whoever waits for something of it is told."""
        if self._sending is not None:
            self._sending.abort()
        if self._response is None:
            self._requested.cancel()
        elif self._receiver is not None:
            self._receiver.finished.cancel()
        elif not isinstance(self._response, Failure):
            self._drop(self._response)
        self.end()

    def _drop(self, response: IResponse) -> None:
        """Want nothing of a response: only who takes it can close its connection."""
        self._receiver = Collector(self.idle, LIMIT)
        deliver(response, self._receiver).addErrback(lambda _: None)
        self._receiver.finished.cancel()

    async def _watch(self, work: Coroutine[Deferred[Any], Any, T]) -> T:
        try:
            return await work
        except BaseException as error:
            self.abort()
            if isinstance(error, UnavailableError) or not isinstance(error, Exception):
                raise
            raise self._translated(error) from error

    def _translated(self, error: BaseException) -> BaseException:
        if self.idle.expired:
            silence = f"nothing moved for {self._patience:g} seconds"
            return UnavailableError(f"{self._host}: {silence}", SOON)
        if was_cancelled(error):
            return CancelledError()
        if isinstance(error, DiedUnusedError):
            return MaybeLaterError(f"{self._host}: the connection was closed")
        if isinstance(error, ProtocolError):
            return UnavailableError(f"{self._host}: {error}", SOON)
        told = transfer_error(error, self._host)
        if not isinstance(told, BlobError):
            return told
        if isinstance(told, CertificateError):
            return UnavailableError(str(told))
        return MaybeLaterError(str(told))

    def about(self, answer: Answer) -> UnavailableError:
        """Say what an answer means that is not the one that was wanted."""
        return refusal(answer, self._host)

    # -- the content -----------------------------------------------------------------------

    async def write(self, data: bytes) -> None:
        """
        Write the next piece of the content, when there is room for it.

        Raises ``UnavailableError`` if no more is wanted, or can be sent.
        """
        assert self._sending is not None
        self.idle.reset()
        try:
            await self._sending.room()
        except StoppedError:
            raise await self._why_no_more() from None
        except BaseException:
            self.abort()
            raise
        self._sending.write(data)
        self._sent += len(data)

    async def _why_no_more(self) -> UnavailableError:
        answer = await self.answer()
        self.abort()
        return self.about(answer)

    async def finish(self) -> Answer:
        """Say that all of the content has been written; see :meth:`answer`."""
        self.idle.reset()
        if self._sending is not None:
            self._sending.end()
        return await self.answer()

    # -- the answer ------------------------------------------------------------------------

    async def response(self) -> IResponse:
        """
        Wait for the response.

        :return: it, its body still to come. Raises ``UnavailableError``.
        """
        return await self._watch(self._wait())

    async def _wait(self) -> IResponse:
        if self._response is None:
            await self._has_come
        if isinstance(self._response, Failure):
            self._response.raiseException()
        assert self._response is not None
        self.idle.reset()
        return self._response

    async def receive(self, receiver: Receiver) -> None:
        """Have a receiver take the body, to its end. Raises ``UnavailableError``."""
        await self._watch(self._receive(receiver))

    async def _receive(self, receiver: Receiver) -> None:
        response = await self._wait()
        self._receiver = receiver
        await deliver(response, receiver)
        self.end(response.code)

    async def answer(self) -> Answer:
        """
        Wait for the whole answer.

        :return: it. Raises ``UnavailableError`` if there is none, or too long a one.
        """
        collector = Collector(self.idle, LIMIT)
        response = await self.response()
        await self.receive(collector)
        return Answer(response.code, response.headers, bytes(collector.body))
