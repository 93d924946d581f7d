"""Who may transfer when: permits by priority and age."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Protocol

from twisted.internet.defer import Deferred


class Place:
    """
    What a transfer's turn depends on.

    :ivar priority: the larger goes first.
    :ivar age: the smaller goes first among equals.
    :ivar waiting: told when the priority rises; None while nothing is waited for.
    """

    __slots__ = ("age", "priority", "waiting")

    def __init__(self, priority: int, age: int) -> None:
        self.priority = priority
        self.age = age
        self.waiting: Waiting | None = None

    @property
    def order(self) -> tuple[int, int]:
        """What sorts the most urgent first, and the oldest among equals."""
        return (-self.priority, self.age)

    def promote(self, priority: int) -> None:
        """Move up to this priority, keeping the age; never down."""
        if priority > self.priority:
            self.priority = priority
            if self.waiting is not None:
                self.waiting.promote(priority)


class Waiting(Protocol):
    """Who waits in a place."""

    def promote(self, priority: int) -> None:
        """Take note of a higher priority."""


class Waiter:
    """
    A place in the queue for a permit.

    :ivar granted: fires with None when the permit is there. Cancelling it gives up the place.
    """

    __slots__ = ("_permits", "age", "granted", "priority")

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
        self._held_back = 0

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

    def take(self) -> bool:
        """Take a permit if one is there and nobody waits; who got it must ``release`` it."""
        if self._queue or self.active >= max(1, self._limit()):
            return False
        self.active += 1
        return True

    @asynccontextmanager
    async def hold(self, place: Place) -> AsyncIterator[None]:
        """Wait for a permit, and have it inside the context."""
        waiter = self.acquire(place.priority, place.age)
        place.waiting = waiter
        try:
            await waiter.granted
        finally:
            place.waiting = None
        try:
            yield
        finally:
            self.release()

    def release(self) -> None:
        """Give a permit back, and those that are free to who is next."""
        self.active -= 1
        self._grant()

    def limit_changed(self) -> None:
        """Ask for the limit at once, rather than when the next permit is given back."""
        self._grant()

    def _enqueue(self, waiter: Waiter) -> None:
        entry = (-waiter.priority, waiter.age, next(self._entries), waiter)
        heapq.heappush(self._queue, entry)

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """
        Grant no permit inside the context, but afterwards.

        Who cancels many at once does so inside it: else a permit that the first one gives back
        starts another one, which is cancelled next.
        """
        self._held_back += 1
        try:
            yield
        finally:
            self._held_back -= 1
            self._grant()

    def _grant(self) -> None:
        # Who is granted a permit may give it back before `callback` returns. The loop that is
        # running goes on then: any number can end at once without a call inside a call.
        if self._held_back:
            return
        self._held_back += 1
        try:
            while self._queue and self.active < max(1, self._limit()):
                waiter = heapq.heappop(self._queue)[-1]
                # A waiter that moved up is in the queue twice; one that was cancelled has fired.
                if not waiter.granted.called:
                    self.active += 1
                    waiter.granted.callback(None)
        finally:
            self._held_back -= 1
