"""What the server has is compared with what is here, and what has to move is noted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from twisted.internet.defer import DeferredLock

from ..errors import CursorExpiredError, ServerError
from ..interfaces import IBlobStore, IRemote
from ..model import FIRST_CURSOR, ChangesPage, Priority, SyncStatus
from ..reconciliation import AppliedChanges, FeedState
from ..transfers.own_changes import Changes, OwnChanges
from ..transfers.requests import Requests
from ..transfers.signals import Signal

DAY = 24 * 3600.0

FULL_INTERVAL = 30 * DAY
"""Seconds from one full comparison to the next, if none is asked for."""


def is_due(feed: FeedState, now: float) -> bool:
    """
    Whether it is time for another full comparison.

    If the clock was set forward, it may be early; if it was set back by more than a day since the
    last one, it is time at once: nobody knows how long ago that was.

    :param now: seconds since the epoch.
    """
    if feed.is_comparing or feed.compared is None:
        return False
    return not -DAY <= now - feed.compared < FULL_INTERVAL


MOST_EMPTY = 100
"""How many answers in a row may tell of nothing, and say that there is more."""


class Way:
    """
    What a reading has come past, by which it can tell that it comes to no end.

    :ivar untold: the ids of what had been uploaded, and not been told of, when it began.
    """

    def __init__(self, untold: Sequence[str]) -> None:
        """It has come past nothing."""
        self.untold = untold
        self._passed: set[str] = set()
        self._empty = 0

    def check(self, since: str, page: ChangesPage) -> None:
        """
        See to it that a page, which follows a cursor, leads on.

        :raise ServerError: the server never comes to an end.
        """
        if since in self._passed:
            # Another manager of this store has begun anew meanwhile.
            self._passed.clear()
        self._passed.add(since)
        self._empty = 0 if page.changes else self._empty + 1
        if page.more and (page.cursor in self._passed or self._empty > MOST_EMPTY):
            raise ServerError("list changes: the server tells the same again and again")


@dataclass
class Differences:
    """
    What a comparison has found.

    :ivar is_list: whether the server listed all there is, as one does that knows of no changes.
    :ivar is_news: whether anything has changed here, or has to.
    :ivar is_told: whether the server has told of changes, and has come to another cursor.
    :ivar is_more: whether it has more to tell.
    :ivar deleted: how many blobs went away here, as they were deleted on the server.
    :ivar waiting: the statuses in which something waits to be moved, and SYNCED if something is to
        be replaced.
    :ivar unsettled: ids that the server has, of blobs that wait to be uploaded: whether its bytes
        are those that are here, ids do not tell.
    :ivar used_again: ids of a list of which the server has a tombstone, too; likewise.
    """

    is_list: bool = False
    is_news: bool = False
    is_told: bool = False
    is_more: bool = False
    deleted: int = 0
    waiting: frozenset[SyncStatus] = frozenset()
    unsettled: list[str] = field(default_factory=list)
    used_again: list[str] = field(default_factory=list)

    def note(self, applied: AppliedChanges) -> None:
        """Take note of what a page has changed."""
        self.is_news = self.is_news or not applied.is_current or any(applied[1:])
        self.deleted += len(applied.deleted)
        self.unsettled += applied.unsettled


class Comparer:
    """
    Compares namespaces, each by one comparison at a time.

    :ivar applied: tells a namespace, and what an answer about it has changed here.
    """

    def __init__(
        self,
        store: IBlobStore,
        remote: IRemote,
        requests: Requests,
        changes: Changes,
        now: Callable[[], float],
    ) -> None:
        """
        Nothing is under way.

        :param changes: what this manager changes on the server.
        :param now: gives the seconds since the epoch.
        """
        self._store = store
        self._remote = remote
        self._requests = requests
        self._changes = changes
        self._now = now
        self.applied: Signal[str, AppliedChanges] = Signal()
        # Where nothing was new the last time.
        self._quiet: dict[str, FeedState] = {}
        self._locks: dict[str, DeferredLock] = {}

    async def compare(self, namespace: str, full: bool = False) -> Differences:
        """
        Ask the server what has changed, and note in the statuses what has to move.

        :param full: compare everything that the server has, as is done from time to time anyway.
        :raise ServerError: the server never comes to an end; or what asking it can raise.
        :raise BlobError: as the store does.
        """
        async with self._locked(namespace):
            feed = self._quiet.pop(namespace, None) or await self._store.get_feed(namespace)
            if full or self.is_due(feed):
                feed = await self._begin(namespace, is_refused=False)
            found = Differences()
            await self._read(namespace, feed, found)
            while not await self._look(namespace, found):
                await self._read(namespace, await self._store.get_feed(namespace), found)
            return found

    async def _look(self, namespace: str, found: Differences) -> bool:
        """
        Find out what waits here.

        :return: whether the store is where the last question to the server has left it.
        """
        waiting = await self._store.find_waiting(namespace)
        found.waiting = waiting.statuses
        if self._quiet.get(namespace, waiting.feed) == waiting.feed:
            return True
        # Another manager of this store has moved on, or begun anew.
        del self._quiet[namespace]
        return False

    async def _begin(self, namespace: str, is_refused: bool) -> FeedState:
        await self._store.begin_comparison(namespace, is_refused)
        return await self._store.get_feed(namespace)

    async def _read(self, namespace: str, feed: FeedState, found: Differences) -> None:
        try:
            await self._read_to_end(namespace, feed, found)
        except CursorExpiredError:
            feed = await self._begin(namespace, is_refused=True)
            try:
                await self._read_to_end(namespace, feed, found)
            except CursorExpiredError as error:
                raise ServerError(f"{error}, though it is new", 410) from error

    async def _read_to_end(self, namespace: str, feed: FeedState, found: Differences) -> None:
        way = Way(await self._store.list_untold(namespace))
        if feed.cursor == FIRST_CURSOR:
            # What has been transferred since that was come to may have been deleted meanwhile.
            feed = await self._begin(namespace, is_refused=False)
        while not await self._read_page(namespace, feed, found, way):
            feed = await self._store.get_feed(namespace)

    async def _read_page(
        self, namespace: str, feed: FeedState, found: Differences, way: Way
    ) -> bool:
        """
        Read the next page, and apply it.

        :param feed: what the store has come to.
        :return: whether that was all.
        """
        with self._changes.watch(namespace) as own:
            ask = partial(self._remote.changes, feed.cursor, namespace)
            answer = await self._requests.make(Priority.DEFAULT, ask)
            if isinstance(answer, list):
                await self._compare_lists(namespace, set(answer), own, found)
                return True
            way.check(feed.cursor, answer)
            if own.outdates(answer):
                return False
            is_current = await self._apply(namespace, answer, feed.cursor, found)
        if answer.more or not is_current:
            return False
        if feed.is_comparing:
            return await self._end(namespace, answer.cursor, found)
        await self._send_untold(namespace, way.untold, found)
        if answer.cursor == feed.cursor:
            self._quiet[namespace] = feed
        return True

    async def _send_untold(self, namespace: str, untold: Sequence[str], found: Differences) -> None:
        """
        Have sent again what the server has not told of, though it has told of everything.

        :param untold: what had been uploaded before it was asked. A backup has been put back since
            that was made before the upload, and after the cursor.
        """
        if untold and await self._store.send_again(untold, namespace):
            found.is_news = True

    async def _apply(
        self, namespace: str, page: ChangesPage, since: str, found: Differences
    ) -> bool:
        if not page.changes and page.cursor == since:
            return True
        applied = await self._store.apply_changes(page, since, namespace)
        found.note(applied)
        self.applied(namespace, applied)
        return applied.is_current

    async def _end(self, namespace: str, cursor: str, found: Differences) -> bool:
        """End a full comparison; give whether it has ended."""
        tombstones: set[str] = set()
        if await self._store.has_unseen(namespace):
            tombstones = await self._list(namespace, deleted=True)
        ended = await self._store.end_comparison(cursor, tombstones, self._now(), namespace)
        applied = AppliedChanges.nothing(ended.is_current)._replace(deleted=ended.deleted)
        found.note(applied)
        found.is_news = found.is_news or ended.lost > 0
        self.applied(namespace, applied)
        return ended.is_current

    async def wait(self, namespace: str, cursor: str, seconds: int) -> Differences:
        """
        Wait until something changes on the server, and note what has to move.

        It takes no permit.

        :param cursor: what the store has come to.
        :param seconds: how long to wait at most; see :meth:`.IRemote.changes`.
        :raise BlobError: as :meth:`compare` does.
        """
        found = Differences()
        untold = await self._store.list_untold(namespace)
        with self._changes.watch(namespace) as own:
            try:
                answer = await self._remote.changes(cursor, namespace, wait=seconds)
            except CursorExpiredError:
                return await self.compare(namespace)
            async with self._locked(namespace):
                if isinstance(answer, list):
                    await self._compare_lists(namespace, set(answer), own, found)
                elif not own.outdates(answer):
                    is_current = await self._apply(namespace, answer, cursor, found)
                    if is_current and not answer.more:
                        await self._send_untold(namespace, untold, found)
                    found.is_told = bool(answer.changes) and answer.cursor != cursor
                    found.is_more = answer.more
            found.is_news = found.is_news or bool(own)
        return found

    def is_due(self, feed: FeedState) -> bool:
        """Whether it is time for another full comparison; see :func:`.is_due`."""
        return is_due(feed, self._now())

    # -- lists -------------------------------------------------------------------------

    async def _compare_lists(
        self, namespace: str, listed: set[str], own: OwnChanges, found: Differences
    ) -> None:
        # In this order: what another client deletes between the two answers is still listed
        # in the first, and so is not taken for lost on the server.
        tombstones = await self._list(namespace, deleted=True)
        present = own.applied_to(listed)
        deleted = await self._store.apply_tombstones(tombstones, present, namespace)
        applied = AppliedChanges.nothing(is_current=True)._replace(deleted=deleted)
        found.note(applied)
        self.applied(namespace, applied)
        if (await self._store.get_feed(namespace)).cursor != FIRST_CURSOR:
            # The server may be another one, which says nothing of what changes at the former.
            await self._store.begin_comparison(namespace)
        present = own.applied_to(listed)
        found.unsettled += await self._store.apply_remote_list(present, namespace, tombstones)
        found.used_again = sorted(present & tombstones)
        found.is_list = found.is_news = True

    async def _list(self, namespace: str, deleted: bool) -> set[str]:
        ask = partial(self._remote.list, namespace, deleted=deleted)
        return set(await self._requests.make(Priority.DEFAULT, ask))

    # -- one at a time -----------------------------------------------------------------

    @asynccontextmanager
    async def _locked(self, namespace: str) -> AsyncIterator[None]:
        lock = self._locks.setdefault(namespace, DeferredLock())
        await lock.acquire()
        try:
            yield
        finally:
            lock.release()
            if not lock.locked and not lock.waiting:
                self._locks.pop(namespace, None)
