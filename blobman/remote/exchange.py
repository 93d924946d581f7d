"""One exchange with the server: a request, its answer, the idle timeout, and what went wrong."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.web.iweb import IResponse

from ..errors import BlobError, RetriableTransferError, ServerError, describe
from ..protocol import ProtocolError, answer_error
from .agent import Connections
from .failures import transfer_error, was_cancelled
from .idle import IdleTimer
from .receivers import Collector, deliver
from .throttle import Throttle

IDLE_TIMEOUT = 60.0
"""Seconds without any progress after which an exchange is given up."""

MAX_ANSWER_SIZE = 64 * 1024
"""Bytes of the longest answer that is read, if nothing else is said."""

T = TypeVar("T")


class Subject:
    """
    What an exchange is about.

    :ivar title: how its error messages begin.
    """

    def __init__(self, action: str, blob_id: str = "", namespace: str = "") -> None:
        self.action = action
        self.blob_id = blob_id
        self.namespace = namespace
        self.title = f"{action} {describe(blob_id, namespace)}" if blob_id else action


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
        self._reactor = reactor
        self._idle_timeout = idle_timeout
        self.throttle = Throttle(reactor) if throttle is None else throttle
        self._connections = Connections(reactor, user, token, cert_file)

    def run(
        self, subject: Subject, work: Callable[[IdleTimer], Coroutine[Deferred[Any], Any, T]]
    ) -> Deferred[T]:
        """
        Do one exchange under the idle timeout.

        :return: fires with what ``work`` returns, or fails with one of our errors.
        """

        async def watch() -> T:
            idle = IdleTimer(self._reactor, self._idle_timeout, lambda: working.cancel())
            working = Deferred.fromCoroutine(work(idle))
            try:
                return await working
            except BlobError:
                raise
            except ProtocolError as error:
                raise ServerError(f"{subject.title}: {error}") from error
            except (Exception, CancelledError) as error:
                if idle.expired:
                    silence = f"nothing moved for {self._idle_timeout:g} seconds"
                    raise RetriableTransferError(f"{subject.title}: {silence}") from error
                if was_cancelled(error):
                    raise CancelledError from error
                raise transfer_error(error, subject.title) from error
            finally:
                idle.stop()

        return Deferred.fromCoroutine(watch())

    async def request(self, idle: IdleTimer, method: str, url: str, data: Any = None) -> IResponse:
        """
        Make a request.

        :param data: bytes, or an ``IBodyProducer``.
        :return: the answer, its body still to come.
        """
        requested: Deferred[Any] = self._connections.http.request(
            method, url, data=data, allow_redirects=False, unbuffered=True
        )
        cancelled: list[bool] = []

        def cancel(_: object) -> None:
            cancelled.append(True)
            requested.cancel()

        # What becomes of a request that is cancelled depends on how far it was: Twisted calls it
        # a failed look-up of the host's name while it connects.
        answered: Deferred[IResponse] = Deferred(cancel)
        requested.chainDeferred(answered)
        try:
            response = await answered
        except Exception as error:
            if cancelled:
                raise CancelledError from error
            raise
        idle.reset()
        return response

    async def finish(
        self,
        idle: IdleTimer,
        response: IResponse,
        subject: Subject,
        limit: int = MAX_ANSWER_SIZE,
    ) -> bytes:
        """
        Read the answer to its end, so that the connection can be used again, and judge it.

        :param limit: bytes of the longest body.
        :raise BlobError: what the answer says, unless it is 200.
        """
        collector = Collector(idle, limit)
        try:
            await deliver(response, collector)
        finally:
            check_answer(response, subject)
        return bytes(collector.body)

    def in_thread(self, work: Callable[[bytes], T], body: bytes) -> Deferred[T]:
        """Read a long body without keeping others waiting."""
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), work, body)

    def close(self) -> Deferred[None]:
        """
        Close the connections.

        :return: fires when they are closed.
        """
        return self._connections.close()


def check_answer(response: IResponse, subject: Subject) -> None:
    """
    Judge an answer by its code.

    :raise BlobError: what it says, unless it is 200.
    """
    if response.code != 200:
        retry_after = response.headers.getRawHeaders("retry-after", [None])[0]
        raise answer_error(
            response.code, subject.action, subject.blob_id, subject.namespace, retry_after
        )
