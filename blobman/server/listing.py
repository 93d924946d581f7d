"""
Lists and counts that say what the files say.

The index proposes. Every row that an answer is made from is held against its file first, and where
they differ, the index is put right. Only then is it asked. A file that somebody else has put there
is not proposed: it is known once it has been asked for, or ``watching.py`` has come by.

One user's list may be long. It is gone through a slice at a time, the slices of all users in turn,
and requests that come meanwhile for the same list share the next time that it is gone through.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

from twisted.internet.defer import Deferred, DeferredLock

from ..model import Flags
from ..protocol import ListQuery
from . import disk, layout
from .folder import BlobFolder
from .index import Page
from .storage import BlobName, Ids

_T = TypeVar("_T")

SLICE = 1000
"""How many files are looked at before another list has its turn."""

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
        self._turn = DeferredLock()
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
        last: str | None = ""
        while last is not None:
            last = await self._turn.run(self._run, put_right, self._folder, rows.user, query, last)


def put_right(folder: BlobFolder, user: str, query: ListQuery, after: str) -> str | None:
    """
    Hold a slice of what the index proposes for a list against the files. It blocks.

    :param after: the id that comes before; empty to begin.
    :return: the slice's last id, or None if the list ends with it.
    """
    page = folder.index.page(user, query, after, SLICE)
    find = _differing_tombstones if query.deleted else _differing_blobs
    for blob_id in find(os.path.join(folder.root, user, query.namespace), page):
        folder.refresh(BlobName(user, query.namespace, blob_id))
    return page[-1][0] if len(page) == SLICE else None


def _differing_blobs(namespace: str, page: Page) -> Iterator[str]:
    for blob_id, size, changed, sidecar in page:
        # Two hundred thousand times for one request: no call that can be spared.
        leaf = f"{namespace}/{blob_id[:1]}/{blob_id[:3]}/{blob_id[:6]}/"
        try:
            status = os.lstat(leaf + blob_id)
        except (FileNotFoundError, NotADirectoryError):
            yield blob_id
            continue
        if (
            status.st_mtime_ns != changed
            or status.st_size != size
            or not stat.S_ISREG(status.st_mode)
        ):
            yield blob_id
        elif sidecar is not None:
            flags = disk.status_of(leaf + layout.sidecar(blob_id, layout.FLAGS))
            if (disk.mark_of(flags) if flags else 0) != sidecar:
                yield blob_id


def _differing_tombstones(namespace: str, page: Page) -> Iterator[str]:
    for blob_id, _, changed, _ in page:
        leaf = f"{namespace}/{blob_id[:1]}/{blob_id[:3]}/{blob_id[:6]}/"
        status = disk.status_of(leaf + layout.sidecar(blob_id, layout.TOMBSTONE))
        if status is None or status.st_mtime_ns != changed:
            yield blob_id
