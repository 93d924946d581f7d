"""One exchange with the server: a request, its answer, the idle timeout, and what went wrong."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, NoReturn, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from ..clocks import steady_clock
from ..errors import BlobError, InvalidFlagsError, RetriableTransferError, ServerError
from ..protocol import (
    ANSWER_HEADER,
    Answer,
    ProtocolError,
    Subject,
    answer_error,
    strange_answer,
)
from ..wire.failures import cause, name_server, transfer_error, was_cancelled
from ..wire.idle import IdleTimer
from ..wire.pool import CACHED_CONNECTIONS, DiedUnusedError
from ..wire.receivers import Collector, deliver
from .agent import Connections
from .bodies import Body
from .receivers import BEGINNING
from .throttle import Throttle

IDLE_TIMEOUT = 60.0
"""Seconds without any progress after which an exchange is given up."""

MAX_ANSWER_SIZE = 64 * 1024
"""Bytes of the longest answer that is read, if nothing else is said."""

T = TypeVar("T")


MakeBody = Callable[[], Any]
"""Makes the body of a request, for each attempt anew: bytes, or an ``IBodyProducer``."""


class Exchanges:
    """
    Makes requests in a user's name.

    Whatever is cancelled or times out has its connection closed.

    :ivar throttle: limits the bytes of blobs in a second.
    """

    def __init__(
        self,
        reactor: Any,
        user: str,
        token: str | None = None,
        cert_file: str | os.PathLike[str] | None = None,
        idle_timeout: float = IDLE_TIMEOUT,
        throttle: Throttle | None = None,
    ) -> None:
        """
        Nothing is connected yet.

        :param cert_file: a PEM file of the only authorities to trust; None for the platform's.
        :param idle_timeout: in seconds.
        :param throttle: what limits the bytes of blobs in a second; None for no limit.
        :raise OSError: ``cert_file`` can't be read.
        :raise ValueError: ``cert_file`` holds no certificate.
        """
        self.user = user
        self._clock = steady_clock(reactor)
        self._idle_timeout = idle_timeout
        self.throttle = Throttle(self._clock) if throttle is None else throttle
        self._connections = Connections(reactor, user, token, cert_file)
        self._server_has_words = False

    def run(
        self,
        subject: Subject,
        work: Callable[[IdleTimer], Coroutine[Deferred[Any], Any, T]],
        wait: float = 0.0,
    ) -> Deferred[T]:
        """
        Do one exchange under the idle timeout.

        :param wait: the seconds that the server is asked to wait; the timeout is longer by these.
        :return: fires with what ``work`` returns, or fails with one of our errors.
        """

        patience = self._idle_timeout + wait

        async def watch() -> T:
            idle = IdleTimer(self._clock, patience, lambda: working.cancel())
            working = Deferred.fromCoroutine(work(idle))
            try:
                return await working
            except BlobError:
                raise
            except ProtocolError as error:
                raise ServerError(f"{subject.title}: {error}", may_pass=True) from error
            except (Exception, CancelledError) as error:
                if idle.expired:
                    where = name_server(subject.title, error)
                    silence = f"nothing moved for {patience:g} seconds"
                    raise RetriableTransferError(f"{where}: {silence}") from error
                if was_cancelled(error):
                    raise CancelledError from error
                raise transfer_error(error, subject.title) from cause(error)
            finally:
                idle.stop()

        return Deferred.fromCoroutine(watch())

    async def request(
        self,
        idle: IdleTimer,
        method: str,
        url: str,
        make_body: MakeBody = lambda: None,
        headers: Headers | None = None,
        on_repeat: Callable[[], object] = lambda: None,
    ) -> IResponse:
        """
        Make a request; again, if it went to a connection that had died while it was kept.

        :param on_repeat: called before it is made again. The server may have got it already.
        :return: the answer, its body still to come.
        """
        for _ in range(CACHED_CONNECTIONS):
            with suppress(DiedUnusedError):
                return await self._request_once(idle, method, url, make_body(), headers)
            on_repeat()
        return await self._request_once(idle, method, url, make_body(), headers)

    async def _request_once(
        self, idle: IdleTimer, method: str, url: str, body: Any, headers: Headers | None
    ) -> IResponse:
        requested = self._connections.request(method, url, body, headers)
        cancelled: list[bool] = []

        def cancel(_: object) -> None:
            cancelled.append(True)
            requested.cancel()

        # What becomes of a request that is cancelled depends on how far it was: Twisted calls it
        # a failed look-up of the host's name while it connects.
        answered: Deferred[IResponse] = Deferred(cancel)

        def ended(result: Any) -> None:
            # Cancelled from within, as it begins, it ends later, and nobody waits for that.
            if not answered.called:
                answered.callback(result)

        requested.addBoth(ended)
        try:
            response = await answered
        except Exception as error:
            if cancelled:
                raise CancelledError from error
            raise
        idle.reset()
        if response.headers.hasHeader(ANSWER_HEADER):
            self._server_has_words = True
        return response

    async def finish(
        self,
        idle: IdleTimer,
        response: IResponse,
        subject: Subject,
        limit: int = MAX_ANSWER_SIZE,
        wanted: str = "the server's answer",
    ) -> Answer:
        """
        Read the answer to its end, so that the connection can be used again, and judge it.

        :param limit: bytes of the longest body.
        :param wanted: what the body of a 200 is to be, for messages ("a list").
        :raise BlobError: what the answer says, unless it is 200.
        """
        collector = Collector(idle, limit)
        too_long: ProtocolError | None = None
        try:
            await deliver(response, collector)
        except CancelledError:
            raise
        except ProtocolError as error:
            too_long = error
        except Exception:
            # What has come of a refusal is enough to know it by.
            if response.code == 200:
                raise
        answer = answer_of(response, bytes(collector.body))
        if answer.status != 200:
            raise answer_error(answer, subject)
        if too_long is not None:
            raise strange_answer(answer, subject, wanted, too_long) from too_long
        return answer

    async def drop(self, idle: IdleTimer, response: IResponse, limit: int = BEGINNING) -> bytes:
        """
        Read an answer of which only the headers, or the first bytes, are wanted.

        :param limit: how many bytes of a body are wanted.
        :return: the beginning of its body. Of a long one no more is read: its connection is closed.
        """
        collector = Collector(idle, limit)
        with suppress(ProtocolError):
            await deliver(response, collector)
        return bytes(collector.body)

    async def refused_early(
        self, idle: IdleTimer, response: IResponse, subject: Subject, body: Body
    ) -> NoReturn:
        """
        Give up an upload that was answered before its end.

        :raise BlobError: what the answer says.
        """
        # Twisted gives no such answer before it has all of it.
        body.abort()
        answer = await self.finish(idle, response, subject)
        early = "the server answered before it had it all"
        raise ServerError(f"{subject.title}: {early}", answer.status, may_pass=True)

    async def expect_done(self, idle: IdleTimer, response: IResponse, subject: Subject) -> None:
        """
        Read the answer to a change.

        :raise BlobError: what it says, unless it is the server's word that it is done.
        """
        answer = await self.finish(idle, response, subject)
        # Nothing is all that Soledad's server says; but a server that has words does not drop them.
        if answer.body or (self._server_has_words and not answer.word):
            raise strange_answer(answer, subject, "the server's answer")

    async def read(
        self,
        idle: IdleTimer,
        response: IResponse,
        subject: Subject,
        wanted: str,
        read: Callable[[bytes], T],
        limit: int = MAX_ANSWER_SIZE,
    ) -> T:
        """
        Read an answer of JSON.

        :param wanted: what it is to be, for messages ("a list").
        :param read: reads it; raises ``ProtocolError`` or ``InvalidFlagsError``.
        :raise BlobError: what the answer says, unless it is that.
        """
        answer = await self.finish(idle, response, subject, limit, wanted)
        try:
            return read(answer.body)
        except (ProtocolError, InvalidFlagsError) as error:
            raise strange_answer(answer, subject, wanted, error) from error

    def close(self) -> Deferred[None]:
        """
        Close the connections.

        :return: fires when they are closed.
        """
        return self._connections.close()


def answer_of(response: IResponse, body: bytes) -> Answer:
    """
    Take what the protocol has to know of an answer.

    :param body: all of it, or its beginning.
    """
    headers = {
        name.decode("latin-1").lower(): values[0].decode("latin-1")
        for name, values in response.headers.getAllRawHeaders()
    }
    return Answer(response.code, headers, body)
