"""What is asked of a server about many blobs: lists, numbers, namespaces, changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from ..interfaces import Ids
from ..model import FIRST_CURSOR, ChangesPage
from ..protocol import (
    DEFAULT_CHANGES,
    MAX_CHANGES_SIZE,
    MAX_LIST_SIZE,
    TRUE,
    ChangesQuery,
    IdsReader,
    ListQuery,
    ObjectReader,
    ProtocolError,
    Query,
    Subject,
    blob_url,
    check_flag,
    read_count,
    read_namespaces,
    read_page,
    strange_answer,
)
from ..wire.idle import IdleTimer
from ..wire.receivers import deliver
from .exchange import Exchanges, MakeBody, answer_of
from .receivers import R, ReadingReceiver

T = TypeVar("T")


class Questions:
    """
    Asks.

    See :class:`blobman.interfaces.IRemote` for how each Deferred can end.

    :param exchanges: makes the requests.
    :param url: the base URL, such as ``https://host/blobs/``.
    """

    def __init__(self, exchanges: Exchanges, url: str) -> None:
        self._exchanges = exchanges
        self._url = url

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
        subject = Subject("list", "", namespace)

        return self._read_long(subject, query.fields(), IdsReader(), "a list", IdsReader.finish)

    def changes(
        self,
        cursor: str = FIRST_CURSOR,
        namespace: str = "",
        limit: int = DEFAULT_CHANGES,
        wait: int = 0,
    ) -> Deferred[ChangesPage | Ids]:
        """See :class:`IRemote`."""
        query = ChangesQuery(cursor, namespace, limit, wait)
        subject = Subject("list changes", "", namespace)

        def finish(reader: ObjectReader) -> ChangesPage | Ids:
            answer = reader.finish()
            return answer if isinstance(answer, list) else read_page(answer, query)

        reader = ObjectReader(MAX_CHANGES_SIZE)
        return self._read_long(subject, query.fields(), reader, "changes", finish, wait)

    def namespaces(self) -> Deferred[dict[str, int] | None]:
        """See :class:`IRemote`."""

        def finish(reader: ObjectReader) -> dict[str, int] | None:
            answer = reader.finish()
            return None if isinstance(answer, list) else read_namespaces(answer)

        subject, reader = Subject("list namespaces"), ObjectReader(MAX_LIST_SIZE)
        return self._read_long(subject, {"namespaces": TRUE}, reader, "namespaces", finish)

    def _read_long(
        self,
        subject: Subject,
        query: Query,
        reader: R,
        wanted: str,
        finish: Callable[[R], T],
        wait: int = 0,
    ) -> Deferred[T]:
        """Ask for an answer of JSON that is read as it comes, and may be waited for."""

        async def ask(idle: IdleTimer) -> T:
            response = await self._request(idle, "GET", subject, query=query)
            if response.code != 200:
                await self._exchanges.finish(idle, response, subject)
            receiver = ReadingReceiver(idle, reader)
            try:
                await deliver(response, receiver)
                return finish(reader)
            except ProtocolError as error:
                answer = answer_of(response, receiver.beginning)
                raise strange_answer(answer, subject, wanted, error) from error

        return self._exchanges.run(subject, ask, wait)

    def count(
        self, namespace: str = "", deleted: bool = False, filter_flag: str | None = None
    ) -> Deferred[dict[str, int]]:
        """See :class:`IRemote`."""
        flag = check_flag(filter_flag) if filter_flag else None
        query = ListQuery(namespace, deleted=deleted, flag=flag, only_count=True)
        subject = Subject("count", "", namespace)

        async def ask(idle: IdleTimer) -> dict[str, int]:
            response = await self._request(idle, "GET", subject, query=query.fields())
            return await self._exchanges.read(idle, response, subject, "a number", read_count)

        return self._exchanges.run(subject, ask)

    async def _request(
        self,
        idle: IdleTimer,
        method: str,
        subject: Subject,
        make_body: MakeBody = lambda: None,
        *,
        query: Query | None = None,
        headers: Headers | None = None,
        on_repeat: Callable[[], object] = lambda: None,
    ) -> IResponse:
        fields = {"namespace": subject.namespace, **(query or {})}
        url = blob_url(self._url, self._exchanges.user, subject.blob_id, fields)
        return await self._exchanges.request(idle, method, url, make_body, headers, on_repeat)
