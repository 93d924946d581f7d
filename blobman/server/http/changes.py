"""What has changed since a cursor; see ``docs/protocol.md``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import aclosing, contextmanager

from twisted.internet.defer import CancelledError, Deferred

from ...model import FIRST_CURSOR
from ...protocol import PAGE_HEAD, ChangesQuery, Cursor, write_changes, write_page_end
from ..accounts.admission import Admission
from ..storage.interface import ChangesPart, IBlobsBackend, Parts
from .answers import check_present
from .pieces import Pieces, framed, send_pieces
from .request import BlobsRequest

ENOUGH = 2 * 1024 * 1024
"""Bytes after which an answer ends with what it has, and says that there is more."""


class Feed:
    """
    Answers a request for the changes of a namespace.

    :param user: whose; has been let in.
    :param namespace: by the name that it has on the server.
    :raise ProtocolError: the cursor is none.
    """

    def __init__(
        self, backend: IBlobsBackend, user: str, namespace: str, query: ChangesQuery
    ) -> None:
        self._backend = backend
        self._user = user
        self._namespace = namespace
        self._query = query
        self._cursor = None if query.cursor == FIRST_CURSOR else Cursor.read(query.cursor)

    async def send(self, request: BlobsRequest, admission: Admission) -> None:
        """
        Answer; if nothing has changed yet, when something has, or after the time asked for.

        :param admission: does not count the request while it waits.
        :raise ClientGoneError: the connection has ended.
        :raise CursorExpiredError: the cursor is of another history.
        :raise StoreError: the changes can't be read.
        """
        deadline = request.waiting.deadline(self._query.wait)
        while True:
            with self._watched() as changed:
                parts = self._backend.changes(
                    self._user, self._namespace, self._cursor, self._query.limit
                )
                first = await anext(parts)
                is_news = bool(first.changes) or first.more
                if is_news or not await self._wait(request, admission, changed, deadline):
                    break
        await self._send(request, first, parts)

    @contextmanager
    def _watched(self) -> Iterator[Deferred[None]]:
        """Take notice of changes from now on, and no more after the block."""
        changed = self._backend.changed(self._user, self._namespace)
        try:
            yield changed
        finally:
            changed.addErrback(lambda failure: failure.trap(CancelledError))
            changed.cancel()

    async def _wait(
        self,
        request: BlobsRequest,
        admission: Admission,
        changed: Deferred[None],
        deadline: float,
    ) -> bool:
        """Wait for a change; give whether there was one."""
        check_present(request)
        request.when_gone(changed.cancel)
        with admission.left(self._user), request.resting():
            has_changed = await request.waiting.wait(self._user, changed, deadline)
        check_present(request)
        if not has_changed and request.waiting.is_full:
            # The connection would be kept for the next one that waits, and others want one.
            request.end_connection()
        return has_changed

    async def _send(self, request: BlobsRequest, first: ChangesPart, parts: Parts) -> None:
        last = first

        async def write() -> Pieces:
            nonlocal last
            size = 0
            async with aclosing(_join(first, parts)) as all_parts:
                async for part in all_parts:
                    last, piece = part, write_changes(part.changes)
                    yield piece
                    size += len(piece)
                    if size >= ENOUGH:
                        return

        def end() -> bytes:
            return write_page_end(last.cursor.write(), last.more)

        await send_pieces(request, framed(PAGE_HEAD, write(), end))


async def _join(first: ChangesPart, parts: Parts) -> Parts:
    async with aclosing(parts):
        yield first
        async for part in parts:
            yield part
