"""The client of a blobs server: one method per request."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.web.iweb import IResponse
from zope.interface import implementer

from ..crypto import Opener, make_sealer
from ..errors import ServerError
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
    blob_url,
    check_flag,
    read_count,
    read_flags,
    read_ids,
    read_tag,
    write_flags,
)
from .bodies import SealedBody, sealed_tag
from .exchange import Exchanges, Subject, check_answer
from .idle import IdleTimer
from .receivers import OpeningReceiver, deliver

MAX_LIST_SIZE = 512 * 1024 * 1024
"""Bytes of the longest list that is read: two million of the longest ids."""

T = TypeVar("T")


@implementer(IRemote)
class BlobsClient:
    """
    A user's blobs on a server.

    See :class:`blobman.interfaces.IRemote` for how each Deferred can end.
    """

    def __init__(self, exchanges: Exchanges, url: str, secret: bytes) -> None:
        """
        Nothing is connected yet.

        :param exchanges: makes the requests.
        :param url: the base URL, such as ``https://host/blobs/``.
        :param secret: what blobs are sealed with; more than 64 bytes.
        """
        self._exchanges = exchanges
        self._url = url
        self._secret = secret

    def __repr__(self) -> str:
        return f"<BlobsClient of {self._exchanges.user} at {self._url}>"

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
        subject = Subject("get the tag of", blob_id, namespace)

        async def ask(idle: IdleTimer) -> bytes:
            response = await self._request(idle, "HEAD", subject)
            await self._exchanges.finish(idle, response, subject)
            return _read_tag_header(response, subject)

        return self._exchanges.run(subject, ask)

    def upload(
        self,
        blob_id: str,
        payload: IPayload,
        namespace: str = "",
        progress: Progress = no_progress,
    ) -> Deferred[None]:
        """See :class:`IRemote`."""
        subject = Subject("put", blob_id, namespace)

        async def send(idle: IdleTimer) -> None:
            sealer = make_sealer(self._secret, payload.preamble, payload.size)
            body = SealedBody(payload, sealer, idle, self._exchanges.throttle, progress)
            response = await self._request(idle, "PUT", subject, data=body)
            if not body.complete:
                body.abort()
                check_answer(response, subject)
                raise ServerError(f"{subject.title}: the server answered before it had it all")
            await self._exchanges.finish(idle, response, subject)

        return self._exchanges.run(subject, send)

    def download(
        self,
        blob_id: str,
        staged: IStagedBlob,
        namespace: str = "",
        progress: Progress = no_progress,
    ) -> Deferred[None]:
        """See :class:`IRemote`."""
        subject = Subject("get", blob_id, namespace)

        async def receive(idle: IdleTimer) -> None:
            opener = Opener(self._secret, blob_id, namespace)
            response = await self._request(idle, "GET", subject)
            if response.code != 200:
                await self._exchanges.finish(idle, response, subject)
            total = response.length if isinstance(response.length, int) else 0
            throttle = self._exchanges.throttle
            receiver = OpeningReceiver(opener, staged, idle, throttle, total, progress)
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

        return self._exchanges.run(subject, receive_or_discard)

    def holds(self, blob_id: str, payload: IPayload, namespace: str = "") -> Deferred[bool]:
        """See :class:`IRemote`."""

        async def compare() -> bool:
            theirs = await self.get_tag(blob_id, namespace)
            return theirs == await sealed_tag(payload, self._secret)

        return Deferred.fromCoroutine(compare())

    def delete(self, blob_id: str, namespace: str = "") -> Deferred[None]:
        """See :class:`IRemote`."""
        subject = Subject("delete", blob_id, namespace)

        async def ask(idle: IdleTimer) -> None:
            response = await self._request(idle, "DELETE", subject)
            await self._exchanges.finish(idle, response, subject)

        return self._exchanges.run(subject, ask)

    def set_flags(self, blob_id: str, flags: Iterable[str], namespace: str = "") -> Deferred[None]:
        """See :class:`IRemote`."""
        body = write_flags(flags)
        subject = Subject("set the flags of", blob_id, namespace)

        async def ask(idle: IdleTimer) -> None:
            response = await self._request(idle, "POST", subject, data=body)
            await self._exchanges.finish(idle, response, subject)

        return self._exchanges.run(subject, ask)

    def get_flags(self, blob_id: str, namespace: str = "") -> Deferred[FlagList]:
        """See :class:`IRemote`."""
        subject = Subject("get the flags of", blob_id, namespace)

        async def ask(idle: IdleTimer) -> FlagList:
            response = await self._request(idle, "GET", subject, only_flags=TRUE)
            return read_flags(await self._exchanges.finish(idle, response, subject))

        return self._exchanges.run(subject, ask)

    def close(self) -> Deferred[None]:
        """See :class:`IRemote`."""
        return self._exchanges.close()

    def _query_list(self, query: ListQuery, read: Callable[[bytes], T]) -> Deferred[T]:
        subject = Subject("list", "", query.namespace)

        async def ask(idle: IdleTimer) -> T:
            response = await self._request(idle, "GET", subject, **query.fields())
            body = await self._exchanges.finish(idle, response, subject, MAX_LIST_SIZE)
            idle.pause()
            return await self._exchanges.in_thread(read, body)

        return self._exchanges.run(subject, ask)

    async def _request(
        self, idle: IdleTimer, method: str, subject: Subject, data: Any = None, **fields: str
    ) -> IResponse:
        query = {"namespace": subject.namespace, **fields}
        url = blob_url(self._url, self._exchanges.user, subject.blob_id, query)
        return await self._exchanges.request(idle, method, url, data)


def _read_tag_header(response: IResponse, subject: Subject) -> bytes:
    tag = response.headers.getRawHeaders("tag", [None])[0]
    if tag is None:
        raise ServerError(f"{subject.title}: the answer has no tag")
    return read_tag(tag)
