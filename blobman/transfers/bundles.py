"""
Small blobs that travel together: whoever waits when a permit comes goes along with one request.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Coroutine
from enum import Enum
from functools import partial
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.python.failure import Failure

from ..errors import BlobError, describe
from ..interfaces import Progress
from ..model import BlobKey, Priority
from .permits import Permits, Place, Waiter


class Outcome(Enum):
    """
    What became of a blob that went along.

    ``DONE``: it has been transferred. ``ALONE``: it needs a request of its own. ``AGAIN``: the
    request ended before its turn came.
    """

    DONE = "done"
    ALONE = "alone"
    AGAIN = "again"


class Passenger:
    """
    A blob that goes along.

    :ivar report: told of its progress.
    :ivar arrived: fires with an :class:`Outcome`, or fails.
    """

    __slots__ = ("_action", "_bundler", "arrived", "bundle", "key", "place", "report")

    def __init__(
        self, bundler: Bundler, action: str, key: BlobKey, place: Place, report: Progress
    ) -> None:
        self._action = action
        self.key = key
        self.place = place
        self.report = report
        self.arrived: Deferred[Outcome] = Deferred()
        self.bundle: _Bundle | None = None
        self._bundler = bundler

    @property
    def what(self) -> str:
        """How an error about it begins."""
        return f"{self._action} {describe(self.key.blob_id, self.key.namespace)}"

    def promote(self, priority: int) -> None:
        """Go along, and ask for a permit, more urgently."""
        if self.bundle is None:
            self._bundler.enqueue(self)

    def arrive(self, outcome: Outcome | BaseException) -> None:
        """Say what became of it, unless nobody waits any more."""
        if not self.arrived.called:
            if isinstance(outcome, Outcome):
                self.arrived.callback(outcome)
            else:
                self.arrived.errback(Failure(outcome))


class _Bundle:
    """One request, those who go along, and who wait for its end."""

    def __init__(self, passengers: list[Passenger]) -> None:
        self.passengers = passengers
        self.over = False
        self.watchers: list[Deferred[None]] = []
        self.work: Deferred[None] | None = None

    def tell(self) -> None:
        """Tell those who wait for the end."""
        watchers, self.watchers = self.watchers, []
        for watcher in watchers:
            watcher.callback(None)


Carry = Callable[[str, list[Passenger]], Coroutine[Deferred[Any], Any, None]]
"""
Makes one request for some blobs of a namespace, and lets each arrive. Those that have not when it
returns are to try again (alone, if none has); if it fails, they fail with it.
"""


class Bundlers:
    """One :class:`Bundler` for each namespace: a request is for blobs of one."""

    def __init__(self, permits: Permits, carry: Carry, limit: int) -> None:
        """
        Nobody waits.

        :param limit: see :class:`Bundler`.
        """
        self._permits = permits
        self._carry = carry
        self._limit = limit
        self._bundlers: dict[str, Bundler] = {}

    def transfer(self, action: str, key: BlobKey, place: Place, report: Progress) -> Deferred[bool]:
        """
        Go along with requests until one has room.

        :param action: what is done with the blob, for errors: ``get`` or ``put``.
        :return: fires with whether that was enough; else the blob needs a request of its own.
            Fails as the request does.
        """
        bundler = self._bundlers.get(key.namespace)
        if bundler is None:
            bundler = Bundler(self._permits, partial(self._carry, key.namespace), self._limit)
            self._bundlers[key.namespace] = bundler

        def arrived(outcome: Outcome) -> bool | Deferred[bool]:
            if outcome is Outcome.AGAIN:
                return self.transfer(action, key, place, report)
            return outcome is Outcome.DONE

        return bundler.take_along(action, key, place, report).addCallback(arrived)


class Bundler:
    """Collects the blobs that wait, and sends them off together, most urgent first."""

    def __init__(
        self,
        permits: Permits,
        carry: Callable[[list[Passenger]], Coroutine[Deferred[Any], Any, None]],
        limit: int,
    ) -> None:
        """
        Nobody waits.

        :param carry: a :data:`Carry` for one namespace.
        :param limit: how many blobs go along with one request at most.
        """
        self._permits = permits
        self._carry = carry
        self._limit = limit
        self._waiting: set[Passenger] = set()
        # Who was promoted is in it twice; who has left, or gone, still is.
        self._queue: list[tuple[int, int, int, Passenger]] = []
        self._entries = itertools.count()
        self._waiter: Waiter | None = None
        self._under_way = 0

    def take_along(
        self, action: str, key: BlobKey, place: Place, report: Progress
    ) -> Deferred[Outcome]:
        """
        Wait for a request to go along with, and for its end.

        :param action: see :meth:`Bundlers.transfer`.
        :return: fires with what became of the blob. Fails as the request does. Cancelling it
            cancels the request if nobody else waits for it any more, and fails when it is over.
        """
        passenger = Passenger(self, action, key, place, report)
        self._waiting.add(passenger)
        place.waiting = passenger
        self.enqueue(passenger)
        return passenger.arrived.addBoth(self._arrived, passenger)

    def _arrived(self, outcome: Outcome | Failure, passenger: Passenger) -> Any:
        passenger.place.waiting = None
        if isinstance(outcome, Failure) and outcome.check(CancelledError):
            return self._leave(passenger).addCallback(lambda _: outcome)
        return outcome

    def enqueue(self, passenger: Passenger) -> None:
        """Have one that waits go along in the turn of its place, with a permit for that."""
        place = passenger.place
        entry = (-place.priority, place.age, next(self._entries), passenger)
        heapq.heappush(self._queue, entry)
        if self._waiter or place.priority >= Priority.URGENT or self._are_enough():
            self._ask(place.priority, place.age)

    def _ask(self, priority: int, age: int) -> None:
        """See to it that a permit of at least this priority is waited for."""
        if self._waiter is not None:
            self._waiter.promote(priority)
            return
        self._waiter = waiter = self._permits.acquire(priority, age)
        waiter.granted.addCallbacks(lambda _: self._depart(), lambda _: None)

    def _ask_for_first(self) -> None:
        first = self._first()
        if first is not None:
            self._ask(first.place.priority, first.place.age)

    def _are_enough(self) -> bool:
        # One request for many costs less than many: while some are under way, others gather, and
        # go at the latest when one of those has ended.
        return len(self._waiting) >= self._under_way * self._limit // 2

    def _leave(self, passenger: Passenger) -> Deferred[None]:
        bundle = passenger.bundle
        if bundle is None:
            self._waiting.discard(passenger)
            if not self._waiting and self._waiter is not None:
                self._queue.clear()
                waiter, self._waiter = self._waiter, None
                waiter.granted.cancel()
            return succeed(None)
        # Until it is over, the server may still get the blob, or the store.
        watcher: Deferred[None] = succeed(None)
        if not bundle.over and bundle.work is not None:
            watcher = Deferred()
            bundle.watchers.append(watcher)
            if all(each.arrived.called for each in bundle.passengers):
                bundle.work.cancel()
        return watcher

    def _depart(self) -> None:
        self._waiter = None
        if not self._waiting:
            self._permits.release()
            return
        going: list[Passenger] = []
        while len(going) < self._limit and (passenger := self._first()) is not None:
            self._waiting.remove(passenger)
            going.append(passenger)
        self._under_way += 1
        bundle = _Bundle(going)
        for passenger in going:
            passenger.bundle = bundle
        bundle.work = Deferred.fromCoroutine(self._travel(bundle))
        if self._are_enough():
            self._ask_for_first()

    def _first(self) -> Passenger | None:
        """Give the one of those that wait whose turn is next."""
        while self._queue:
            passenger = self._queue[0][-1]
            if passenger in self._waiting:
                return passenger
            heapq.heappop(self._queue)
        return None

    async def _travel(self, bundle: _Bundle) -> None:
        outcome: Outcome | BaseException = Outcome.AGAIN
        try:
            await self._carry(bundle.passengers)
            if not any(passenger.arrived.called for passenger in bundle.passengers):
                outcome = Outcome.ALONE
        except (Exception, CancelledError) as error:
            outcome = error
        finally:
            bundle.over = True
            self._under_way -= 1
            self._permits.release()
            for passenger in bundle.passengers:
                passenger.arrive(
                    outcome.about(passenger.what) if isinstance(outcome, BlobError) else outcome
                )
            # They know it, too: none of this should wait for the garbage collector.
            bundle.passengers = []
            bundle.tell()
            self._ask_for_first()
