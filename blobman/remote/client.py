"""The client of a blobs server: one method per request."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.web.iweb import IResponse
from zope.interface import implementer

from ..crypto import Opener, make_sealer
from ..errors import BlobError, RetriableTransferError, ServerError, describe
from ..interfaces import (
    FlagList,
    Ids,
    IPayload,
    IRemote,
    IStagedBlob,
    Progress,
    no_progress,
)
from ..protocol import (
    TRUE,
    ListQuery,
    ProtocolError,
    Query,
    answer_error,
    blob_url,
    check_flag,
    read_count,
    read_flags,
    read_ids,
    read_tag,
    write_flags,
)
from .agent import Connections
from .bodies import Collector, OpeningReceiver, SealedBody, deliver, sealed_tag
from .failures import transfer_error, was_cancelled
from .idle import IdleTimer

IDLE_TIMEOUT = 60.0
"""Seconds without any progress after which an exchange is given up."""

MAX_LIST_SIZE = 512 * 1024 * 1024
"""Bytes of the longest list that is read: two million of the longest ids."""

MAX_ANSWER_SIZE = 64 * 1024
"""Bytes of the longest other answer that is read."""

T = TypeVar("T")


@implementer(IRemote)
class BlobsClient:
    """
    A user's blobs on a server.

    See :class:`blobman.interfaces.IRemote` for how each Deferred can end.
    """

    def __init__(
        self,
        reactor: Any,
        url: str,
        user: str,
        secret: bytes,
        token: str | None = None,
        cert_file: str | os.PathLike[str] | None = None,
        idle_timeout: float = IDLE_TIMEOUT,
    ) -> None:
        """
        Nothing is connected yet.

        :param url: the base URL, such as ``https://host/blobs/``.
        :param secret: what blobs are sealed with; more than 64 bytes.
        :param cert_file: a PEM file of the only authorities to trust; None for the platform's.
        :param idle_timeout: in seconds.
        :raise OSError: ``cert_file`` can't be read.
        :raise ValueError: ``cert_file`` holds no certificate.
        """
        self._reactor = reactor
        self._url = url
        self._user = user
        self._secret = secret
        self._idle_timeout = idle_timeout
        self._connections = Connections(reactor, user, token, cert_file)

    def __repr__(self) -> str:
        return f"<BlobsClient of {self._user} at {self._url}>"

    def list(
        self,
        namespace: str = "",
        order_by: str | None = None,
        deleted: bool = False,
        filter_flag: str | None = None,
    ) -> Deferred[Ids]:
        """See :class:`IRemote`."""
        flag = check_flag(filter_flag) if filter_flag else None
        query = ListQuery(namespace, order_by, deleted, flag)
        return self._query_list(query, read_ids)

    def count(
        self, namespace: str = "", deleted: bool = False, filter_flag: str | None = None
    ) -> Deferred[dict[str, int]]:
        """See :class:`IRemote`."""
        flag = check_flag(filter_flag) if filter_flag else None
        query = ListQuery(namespace, deleted=deleted, flag=flag, only_count=True)
        return self._query_list(query, read_count)

    def get_tag(self, blob_id: str, namespace: str = "") -> Deferred[bytes]:
        """See :class:`IRemote`."""
        exchange = _Exchange("get the tag of", blob_id, namespace)

        async def ask(idle: IdleTimer) -> bytes:
            response = await self._request(idle, "HEAD", exchange)
            await self._finish(idle, response, exchange)
            return _read_tag_header(response, exchange)

        return self._run(exchange, ask)

    def upload(
        self,
        blob_id: str,
        payload: IPayload,
        namespace: str = "",
        progress: Progress = no_progress,
    ) -> Deferred[None]:
        """See :class:`IRemote`."""
        exchange = _Exchange("put", blob_id, namespace)

        async def send(idle: IdleTimer) -> None:
            sealer = make_sealer(self._secret, payload.preamble, payload.size)
            body = SealedBody(payload, sealer, idle, progress)
            response = await self._request(idle, "PUT", exchange, data=body)
            if not body.complete:
                body.abort()
                _check_answer(response, exchange)
                raise ServerError(f"{exchange.title}: the server answered before it had it all")
            await self._finish(idle, response, exchange)

        return self._run(exchange, send)

    def download(
        self,
        blob_id: str,
        staged: IStagedBlob,
        namespace: str = "",
        progress: Progress = no_progress,
    ) -> Deferred[None]:
        """See :class:`IRemote`."""
        exchange = _Exchange("get", blob_id, namespace)

        async def receive(idle: IdleTimer) -> None:
            opener = Opener(self._secret, blob_id, namespace)
            response = await self._request(idle, "GET", exchange)
            if response.code != 200:
                await self._finish(idle, response, exchange)
            total = response.length if isinstance(response.length, int) else 0
            receiver = OpeningReceiver(opener, staged, idle, total, progress)
            await deliver(response, receiver)
            idle.pause()
            opener.finish()
            await staged.publish(opener.preamble, opener.external)

        async def receive_or_discard(idle: IdleTimer) -> None:
            try:
                await receive(idle)
            except BaseException:
                idle.pause()
                await staged.discard()
                raise

        return self._run(exchange, receive_or_discard)

    def holds(self, blob_id: str, payload: IPayload, namespace: str = "") -> Deferred[bool]:
        """See :class:`IRemote`."""

        async def compare() -> bool:
            theirs = await self.get_tag(blob_id, namespace)
            return theirs == await sealed_tag(payload, self._secret)

        return Deferred.fromCoroutine(compare())

    def delete(self, blob_id: str, namespace: str = "") -> Deferred[None]:
        """See :class:`IRemote`."""
        exchange = _Exchange("delete", blob_id, namespace)

        async def ask(idle: IdleTimer) -> None:
            response = await self._request(idle, "DELETE", exchange)
            await self._finish(idle, response, exchange)

        return self._run(exchange, ask)

    def set_flags(self, blob_id: str, flags: Iterable[str], namespace: str = "") -> Deferred[None]:
        """See :class:`IRemote`."""
        body = write_flags(flags)
        exchange = _Exchange("set the flags of", blob_id, namespace)

        async def ask(idle: IdleTimer) -> None:
            response = await self._request(idle, "POST", exchange, data=body)
            await self._finish(idle, response, exchange)

        return self._run(exchange, ask)

    def get_flags(self, blob_id: str, namespace: str = "") -> Deferred[FlagList]:
        """See :class:`IRemote`."""
        exchange = _Exchange("get the flags of", blob_id, namespace, {"only_flags": TRUE})

        async def ask(idle: IdleTimer) -> FlagList:
            response = await self._request(idle, "GET", exchange)
            return read_flags(await self._finish(idle, response, exchange))

        return self._run(exchange, ask)

    def close(self) -> Deferred[None]:
        """See :class:`IRemote`."""
        return self._connections.close()

    def _query_list(self, query: ListQuery, read: Callable[[bytes], T]) -> Deferred[T]:
        exchange = _Exchange("list", "", query.namespace, query.fields())

        async def ask(idle: IdleTimer) -> T:
            response = await self._request(idle, "GET", exchange)
            body = await self._finish(idle, response, exchange, MAX_LIST_SIZE)
            idle.pause()
            pool = self._reactor.getThreadPool()
            return await deferToThreadPool(self._reactor, pool, read, body)

        return self._run(exchange, ask)

    def _run(
        self, exchange: _Exchange, work: Callable[[IdleTimer], Coroutine[Deferred[Any], Any, T]]
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
                raise ServerError(f"{exchange.title}: {error}") from error
            except (Exception, CancelledError) as error:
                if idle.expired:
                    silence = f"nothing moved for {self._idle_timeout:g} seconds"
                    raise RetriableTransferError(f"{exchange.title}: {silence}") from error
                if was_cancelled(error):
                    raise CancelledError from error
                raise transfer_error(error, exchange.title) from error
            finally:
                idle.stop()

        return Deferred.fromCoroutine(watch())

    async def _request(
        self, idle: IdleTimer, method: str, exchange: _Exchange, data: Any = None
    ) -> IResponse:
        url = blob_url(self._url, self._user, exchange.blob_id, exchange.query)
        response: IResponse = await self._connections.http.request(
            method, url, data=data, allow_redirects=False, unbuffered=True
        )
        idle.reset()
        return response

    async def _finish(
        self, idle: IdleTimer, response: IResponse, exchange: _Exchange, limit: int = 0
    ) -> bytes:
        """Read the answer to its end, so that the connection can be used again; judge it."""
        collector = Collector(idle, limit or MAX_ANSWER_SIZE)
        try:
            await deliver(response, collector)
        finally:
            _check_answer(response, exchange)
        return bytes(collector.body)


class _Exchange:
    """
    What a request is about.

    :ivar title: how error messages begin.
    :ivar query: the query fields.
    """

    def __init__(
        self, action: str, blob_id: str, namespace: str, query: Query | None = None
    ) -> None:
        self.action = action
        self.blob_id = blob_id
        self.namespace = namespace
        self.query = {"namespace": namespace, **(query or {})}
        self.title = f"{action} {describe(blob_id, namespace)}" if blob_id else action


def _check_answer(response: IResponse, exchange: _Exchange) -> None:
    if response.code != 200:
        retry_after = response.headers.getRawHeaders("retry-after", [None])[0]
        raise answer_error(
            response.code, exchange.action, exchange.blob_id, exchange.namespace, retry_after
        )


def _read_tag_header(response: IResponse, exchange: _Exchange) -> bytes:
    tag = response.headers.getRawHeaders("tag", [None])[0]
    if tag is None:
        raise ServerError(f"{exchange.title}: the answer has no tag")
    return read_tag(tag)
