"""Answers: short texts, JSON, and long bodies with back-pressure."""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IConsumer, IPushProducer
from zope.interface import implementer

from ...protocol import ANSWER_HEADER, DONE
from .body import ClientGoneError
from .refusals import Headers, Refusal, refusal_for
from .request import BlobsRequest

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall

JSON_TYPE = "application/json"

PIECE = 256 * 1024
"""Bytes of an answer that are sent at once; a client has a certain time to take them."""

SHORT = 64 * 1024
"""Bytes up to which an answer is sent without waiting for the client."""


async def answer(
    request: BlobsRequest,
    code: int,
    body: bytes = b"",
    content_type: str = "",
    headers: Headers = (),
) -> None:
    """
    Send an answer and end it.

    :raise ClientGoneError: the connection has ended.
    """
    await request.take_small_rest()
    check_present(request)
    head = [*headers, ("Content-Length", str(len(body)))]
    if content_type:
        head.append(("Content-Type", content_type))
    if len(body) > SHORT and request.method != b"HEAD":
        await _send_paced(request, code, head, body)
    else:
        set_head(request, code, head)
        request.write(body)
        request.finish()


async def _send_paced(request: BlobsRequest, code: int, head: Headers, body: bytes) -> None:
    with PacedWriter(request, code, head) as writer:
        for start in range(0, len(body), PIECE):
            writer.write(body[start : start + PIECE])
            await writer.drained()
        writer.finish()


def set_head(request: BlobsRequest, code: int, headers: Headers) -> None:
    """Say what the answer is, and whose, right before its first byte."""
    request.setResponseCode(code)
    request.responseHeaders.setRawHeaders(ANSWER_HEADER, [DONE])
    for name, value in headers:
        request.responseHeaders.setRawHeaders(name, [value])


async def answer_errors(request: BlobsRequest, handling: Awaitable[None]) -> None:
    """
    Handle a request, and answer the error if that fails.

    :param handling: answers the request, or raises what is to be answered.
    """
    # Nobody is left to be told what fails once the client has gone.
    with suppress(ClientGoneError):
        try:
            await handling
        except ClientGoneError:
            raise
        except Exception as error:
            await refuse(request, refusal_for(error, request.log))


async def refuse(request: BlobsRequest, refusal: Refusal) -> None:
    """
    Send an answer that is not a success; if one has begun already, break the connection off,
    so that nobody takes what came for the whole.

    :raise ClientGoneError: the connection has ended.
    """
    if request.startedWriting:
        request.connection.abortConnection()
        raise ClientGoneError
    headers = [(ANSWER_HEADER, refusal.word), *refusal.headers]
    await answer(request, refusal.code, f"{refusal}\n".encode(), headers=headers)


def check_present(request: BlobsRequest) -> None:
    """
    Look whether the client still is there.

    :raise ClientGoneError: the connection has ended.
    """
    if request.is_gone:
        raise ClientGoneError


@implementer(IPushProducer, IConsumer)
class PacedWriter:
    """
    Writes a long answer, no faster than the client takes it. It is a context manager, which lets
    go of the request at every end.

    A part of the answer can come from a producer; it is paused, resumed and stopped with this one.

    What fails before the first :meth:`write` can still be answered: nothing has been said yet.

    :param code: the status of the answer.
    :param headers: the headers of the answer.
    """

    def __init__(self, request: BlobsRequest, code: int, headers: Headers) -> None:
        check_present(request)
        self._request = request
        self._head: tuple[int, Headers] | None = code, headers
        self._is_paused = False
        self._drained: Deferred[None] | None = None
        self._clock, self._patience = request.stall_clock
        self._stall: IDelayedCall | None = None
        self._producer: IPushProducer | None = None
        request.registerProducer(self, True)  # type: ignore[no-untyped-call]

    def __enter__(self) -> PacedWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._let_go()

    def _let_go(self) -> None:
        self._stop_stall()
        if self._request.producer is self and not self._request.is_gone:
            self._request.unregisterProducer()

    def _begin(self) -> None:
        head, self._head = self._head, None
        if head is not None:
            set_head(self._request, *head)

    def write(self, data: bytes) -> None:
        """Send some more; wait for :meth:`drained` between two calls."""
        if not self._request.is_gone:
            self._begin()
            self._request.write(data)

    def drained(self) -> Deferred[None]:
        """
        Wait until more can be sent.

        :return: fires when there is room. Fails with ``ClientGoneError``.
        """
        if self._request.is_gone:
            return fail(ClientGoneError())
        if not self._is_paused:
            return succeed(None)
        self._drained = Deferred()
        return self._drained

    def finish(self) -> None:
        """End the answer."""
        check_present(self._request)
        self._let_go()
        self._begin()
        self._request.finish()

    # -- IConsumer ---------------------------------------------------------------------

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Let a push producer write the next part of the answer."""
        self._producer = producer
        if self._request.is_gone:
            producer.stopProducing()
        elif self._is_paused:
            producer.pauseProducing()

    def unregisterProducer(self) -> None:
        """Go on without it."""
        self._producer = None

    # -- IPushProducer -----------------------------------------------------------------

    def pauseProducing(self) -> None:
        """Hold on; the client is behind."""
        self._is_paused = True
        self._stop_stall()
        self._stall = self._clock.callLater(self._patience, self._give_up)
        if self._producer is not None:
            self._producer.pauseProducing()

    def _give_up(self) -> None:
        self._stall = None
        self._request.connection.abortConnection()

    def _stop_stall(self) -> None:
        stall, self._stall = self._stall, None
        if stall is not None:
            stall.cancel()

    def resumeProducing(self) -> None:
        """Go on."""
        self._is_paused = False
        self._stop_stall()
        waiting, self._drained = self._drained, None
        if waiting is not None:
            waiting.callback(None)
        if self._producer is not None:
            self._producer.resumeProducing()

    def stopProducing(self) -> None:
        """Give up: the connection has ended."""
        self._stop_stall()
        waiting, self._drained = self._drained, None
        if waiting is not None:
            waiting.errback(ClientGoneError())
        if self._producer is not None:
            self._producer.stopProducing()
