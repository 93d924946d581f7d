"""
Lists and counts that say what the files say.

The index proposes. Every row that an answer is made from is held against its file first, and where
they differ, the index is put right. Only then is it asked. A file that somebody else has put there
is not proposed: it is known once it has been asked for, or ``watching.py`` has come by.

Many rows are checked in processes of their own, a part at a time, the parts of all users in turn.
Requests that come meanwhile for the same rows share the next time that these are checked.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from twisted.internet.defer import Deferred, DeferredSemaphore, FirstError, gatherResults

from ..model import Flags
from ..protocol import ListQuery
from . import checking
from .checkers import Checkers
from .folder import BlobFolder
from .storage import BlobName, Ids

_T = TypeVar("_T")

PART = 10_000
"""How many rows are checked in one go. So many or fewer need no other process."""

PROCESSES = min(2, os.cpu_count() or 1)
"""How many processes check at once."""

Run = Callable[..., Deferred[Any]]
"""Calls a function in a thread."""


class _Rows(NamedTuple):
    """Which rows of the index an answer is made from."""

    user: str
    namespace: str
    deleted: bool
    flag: Flags | None


class Listing:
    """
    Answers what lists and counts ask.

    :param run: calls a function in a thread.
    """

    def __init__(self, folder: BlobFolder, run: Run) -> None:
        self._folder = folder
        self._run = run
        self._checkers = Checkers(folder.index.path)
        self._turns = DeferredSemaphore(PROCESSES)
        self._waiting: dict[_Rows, list[Deferred[None]]] = {}

    async def list(self, user: str, query: ListQuery) -> Ids:
        """List ids; see :class:`IBlobsBackend`."""
        ids: Ids = await self._ask(self._folder.index.list, user, query)
        return ids

    async def count(self, user: str, query: ListQuery) -> int:
        """Count ids; see :class:`IBlobsBackend`."""
        number: int = await self._ask(self._folder.index.count, user, query)
        return number

    async def _ask(self, ask: Callable[[str, ListQuery], _T], user: str, query: ListQuery) -> _T:
        await self._verified(_Rows(user, query.namespace, query.deleted, query.flag))
        answer: _T = await self._run(ask, user, query)
        return answer

    def _verified(self, rows: _Rows) -> Deferred[None]:
        """Wait until all rows have been held against the files, from now on."""
        done: Deferred[None] = Deferred()
        if rows in self._waiting:
            self._waiting[rows].append(done)
        else:
            self._waiting[rows] = [done]
            Deferred.fromCoroutine(self._go_through(rows))
        return done

    async def _go_through(self, rows: _Rows) -> None:
        while waiting := self._waiting[rows]:
            self._waiting[rows] = []
            error: Exception | None = None
            try:
                await self._verify(rows)
            except Exception as caught:
                error = caught
            for done in waiting:
                if error is None:
                    done.callback(None)
                else:
                    done.errback(error)
        del self._waiting[rows]

    async def _verify(self, rows: _Rows) -> None:
        query = ListQuery(namespace=rows.namespace, deleted=rows.deleted, flag=rows.flag)
        if self._folder.ledger.missing():
            await self._run(self._folder.ledger.catch_up)
        ends = await self._run(self._folder.index.part_ends, rows.user, query, PART)
        if not ends:
            await self._run(self._put_right, rows.user, query)
            return
        try:
            await gatherResults(
                [
                    self._turns.run(self._run, self._put_right, rows.user, query, after, last)
                    for after, last in zip(["", *ends], [*ends, None], strict=True)
                ],
                consumeErrors=True,
            )
        except FirstError as error:
            error.subFailure.raiseException()

    def _put_right(
        self, user: str, query: ListQuery, after: str = "", last: str | None = None
    ) -> None:
        statement, values = self._folder.index.proposal(user, query, after, last)
        folder = os.path.join(self._folder.root, user, query.namespace)
        request = checking.Request(statement, values, folder, query.deleted)
        for blob_id in self._differing(request, is_long=bool(after or last)):
            name = BlobName(user, query.namespace, blob_id)
            # Of one that waits for its file, what is known is what will be.
            if name not in self._folder.small.backlog:
                self._folder.refresh(name)

    def _differing(self, request: checking.Request, is_long: bool) -> Ids:
        if is_long:
            try:
                return self._checkers.differing(request)
            except OSError:
                # It takes longer here, that is all.
                pass
        with self._folder.index.reading() as index:
            return checking.differing(index, request)

    def close(self) -> None:
        """End the processes. It blocks, and nothing may be under way."""
        self._checkers.close()
