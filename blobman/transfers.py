"""
Who may transfer when: permits by priority and age, and one shared transfer per blob.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from .model import BlobKey

Start = Callable[[], Coroutine[Deferred[Any], Any, None]]
"""Makes one attempt at a transfer."""


class Waiter:
    """
    A place in the queue for a permit.

    :ivar granted: fires with None when the permit is there. Cancelling it gives up the place.
    """

    def __init__(self, permits: Permits, priority: int, age: int) -> None:
        # Only the queue fires ``granted``, and it skips those that have been cancelled: so the
        # place need not be looked for in the queue.
        self.granted: Deferred[None] = Deferred()
        self.priority = priority
        self.age = age
        self._permits = permits

    def promote(self, priority: int) -> None:
        """Move up to this priority, keeping the age; never down."""
        if priority > self.priority and not self.granted.called:
            self.priority = priority
            self._permits._enqueue(self)


class Permits:
    """
    A semaphore whose next permit goes to the most urgent waiter, the oldest among equals.

    :ivar active: how many permits are out.
    """

    def __init__(self, limit: Callable[[], int]) -> None:
        """
        All permits are there.

        :param limit: asked each time for how many permits there are; less than 1 counts as 1.
        """
        self.active = 0
        self._limit = limit
        self._ages = itertools.count()
        self._queue: list[tuple[int, int, int, Waiter]] = []
        self._entries = itertools.count()

    def new_age(self) -> int:
        """Take a number that is higher than all before: a place among equals, kept for later."""
        return next(self._ages)

    def acquire(self, priority: int, age: int | None = None) -> Waiter:
        """
        Queue for a permit. Who has been granted one must ``release`` it.

        :param priority: the larger goes first.
        :param age: a number from ``new_age``; None for a new one.
        """
        waiter = Waiter(self, priority, self.new_age() if age is None else age)
        self._enqueue(waiter)
        self._grant()
        return waiter

    def release(self) -> None:
        """Give a permit back, and those that are free to who is next."""
        self.active -= 1
        self._grant()

    def _enqueue(self, waiter: Waiter) -> None:
        entry = (-waiter.priority, waiter.age, next(self._entries), waiter)
        heapq.heappush(self._queue, entry)

    def _grant(self) -> None:
        while self._queue and self.active < max(1, self._limit()):
            waiter = heapq.heappop(self._queue)[-1]
            # A waiter that moved up is in the queue twice; one that was cancelled has fired.
            if not waiter.granted.called:
                self.active += 1
                waiter.granted.callback(None)


class _Transfer:
    """
    One transfer that is waiting for its permit or under way, and those who wait for it.

    :ivar waiter: its place in the queue; None if it came with a permit.
    :ivar callers: each fires as the transfer ends.
    :ivar watchers: each fires with None when it is over and all cleaned up, however it ended.
    :ivar result: None, or the failure; only when ``over``.
    :ivar cancelled: it is on its way to its end: nobody may join any more.
    :ivar reason: what its callers are told if it was cancelled for all of them.
    """

    def __init__(self, waiter: Waiter | None) -> None:
        self.waiter = waiter
        self.callers: list[Deferred[None]] = []
        self.watchers: list[Deferred[None]] = []
        self.over = False
        self.result: Failure | None = None
        self.cancelled = False
        self.reason: BaseException | None = None
        self.work: Deferred[None]

    def end(self, result: Failure | None) -> None:
        """It is over: tell everybody."""
        if result is not None and self.reason is not None:
            result = Failure(self.reason)
        self.over, self.result = True, result
        callers, self.callers = self.callers, []
        for caller in callers:
            caller.callback(result)
        watchers, self.watchers = self.watchers, []
        for watcher in watchers:
            watcher.callback(None)

    def cancel(self, reason: BaseException | None = None) -> None:
        """Cancel it for all who wait."""
        if not self.cancelled:
            self.cancelled, self.reason = True, reason
            self.work.cancel()

    async def wait(self) -> None:
        """Wait for its end, whatever that is. Cancelling this does nothing to it."""
        if not self.over:
            watcher: Deferred[None] = Deferred()
            self.watchers.append(watcher)
            await watcher

    async def join(self) -> None:
        """Wait for its result. Cancelling the last one who waits cancels it."""
        if self.over:
            if self.result is not None:
                self.result.raiseException()
            return
        caller: Deferred[None] = Deferred()
        self.callers.append(caller)
        try:
            await caller
        except CancelledError:
            if caller in self.callers:
                self.callers.remove(caller)
                if not self.callers:
                    self.cancel()
                    await self.wait()
            raise


class Transfers:
    """
    The transfers of a manager: at most one per blob, at most as many at a time as permitted.

    Callers of the same blob share its transfer. One that cancels leaves the others alone; when
    the last one does, the transfer is cancelled, and that caller is told when it is over.

    :ivar permits: the permits that all transfers need.
    """

    def __init__(self, limit: Callable[[], int]) -> None:
        """
        Nothing is under way.

        :param limit: see :class:`Permits`.
        """
        self.permits = Permits(limit)
        self._transfers: dict[BlobKey, _Transfer] = {}

    def share(
        self,
        key: BlobKey,
        priority: int,
        start: Start,
        release: Callable[[], None] | None = None,
    ) -> Deferred[None]:
        """
        Take part in the transfer of a blob; begin it if there is none.

        :param priority: one that is waiting moves up to it.
        :param start: makes the transfer, if it is to be begun.
        :param release: gives back a permit that the caller has been granted: one that is begun
            uses it, and it is given back in any case. None if there is none: it waits for one.
        :return: fires with None, or fails, as the transfer does.
        """
        return Deferred.fromCoroutine(self._share(key, priority, start, release))

    async def cancel(self, key: BlobKey, reason: BaseException) -> None:
        """Cancel the transfer of a blob, if there is one, and wait for its end.

        :param reason: what all who wait for it fail with.
        """
        transfer = self._transfers.get(key)
        if transfer is not None:
            transfer.cancel(reason)
            await transfer.wait()

    async def _share(
        self, key: BlobKey, priority: int, start: Start, release: Callable[[], None] | None
    ) -> None:
        try:
            transfer = self._transfers.get(key)
            while transfer is not None and transfer.cancelled:
                await transfer.wait()
                transfer = self._transfers.get(key)
            if transfer is None:
                permit, release = release, None
                transfer = self._begin(key, priority, start, permit)
        finally:
            if release is not None:
                release()
        if transfer.waiter is not None:
            transfer.waiter.promote(priority)
        await transfer.join()

    def _begin(
        self, key: BlobKey, priority: int, start: Start, release: Callable[[], None] | None
    ) -> _Transfer:
        waiter = self.permits.acquire(priority) if release is None else None
        transfer = self._transfers[key] = _Transfer(waiter)
        transfer.work = Deferred.fromCoroutine(
            self._work(waiter, start, release or self.permits.release)
        )
        transfer.work.addBoth(self._finish, key, transfer)
        return transfer

    async def _work(self, waiter: Waiter | None, start: Start, release: Callable[[], None]) -> None:
        if waiter is not None:
            await waiter.granted
        try:
            await start()
        finally:
            release()

    def _finish(self, result: Failure | None, key: BlobKey, transfer: _Transfer) -> None:
        del self._transfers[key]
        transfer.end(result)
