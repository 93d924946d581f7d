"""Drives a queue: starts what has been granted a permit, and what is due."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from .queue import Entry, Group, Queue


class Permits:
    """A semaphore whose next permit goes to the most urgent entry, the oldest among equals."""

    def __init__(self, limit: Callable[[], int], clock: IReactorTime) -> None:
        """
        All permits are there.

        :param limit: asked each time for how many permits there are; 0 counts as 1.
        :param clock: for what waits for a time.
        """
        self._queue = Queue(limit)
        self._clock = clock
        self._held_back = 0
        self._due: float | None = None
        self._call: IDelayedCall | None = None

    @property
    def active(self) -> int:
        """How many permits are out."""
        return self._queue.active

    def new_age(self) -> int:
        """Take a number that is higher than all before: a place among equals, kept for later."""
        return self._queue.new_age()

    # -- one for each ------------------------------------------------------------------

    def take(self) -> bool:
        """Take a permit if one is there and nobody waits; who got it must ``release`` it."""
        return not self._held_back and self._queue.take()

    def acquire(self, entry: Entry) -> Deferred[None]:
        """
        Wait for a permit. Who has been granted one must ``release`` it.

        :return: fires with None when the permit is there. Cancelling it gives up the place.
        """
        granted: Deferred[None] = Deferred(lambda _: self.remove(entry))
        entry.go = partial(granted.callback, None)
        self.add(entry)
        return granted

    @asynccontextmanager
    async def hold(self, entry: Entry) -> AsyncIterator[None]:
        """Wait for a permit, and have it inside the context."""
        if not self.take():
            await self.acquire(entry)
        try:
            yield
        finally:
            self.release()

    def release(self, group: Group | None = None) -> None:
        """
        Give a permit back, and those that are free to who is next.

        :param group: whose it was; None if it was of one alone.
        """
        self._queue.release(group)
        self._grant()

    # -- what waits --------------------------------------------------------------------

    def add(self, entry: Entry, group: Group | None = None) -> None:
        """
        Have an entry wait for a permit; then it goes.

        :param group: with whom; this starts those that have been granted one. None for alone.
        """
        self._queue.add(entry, group)
        self._grant()

    def postpone(self, entry: Entry, due: float) -> None:
        """Have an entry wait for a time of the clock; then it goes, without a permit."""
        self._queue.postpone(entry, due)
        self._plan()

    def sleep(self, entry: Entry, seconds: float) -> Deferred[None]:
        """
        Wait for some time.

        :return: fires with None then. Can be cancelled.
        """
        over: Deferred[None] = Deferred(lambda _: self.remove(entry))
        entry.go = partial(over.callback, None)
        self.postpone(entry, self._clock.seconds() + seconds)
        return over

    def hasten(self, entry: Entry) -> None:
        """Have an entry go that waits for a time."""
        if entry.due is not None:
            self.remove(entry)
            _go([entry])

    def promote(self, entry: Entry, priority: int) -> None:
        """Move an entry up to a priority, keeping its age; never down."""
        self._queue.promote(entry, priority)
        self._grant()

    def remove(self, entry: Entry) -> None:
        """Have an entry wait no more, if it does."""
        self._queue.remove(entry)
        self._plan()

    def limit_changed(self) -> None:
        """Ask for the limit at once, rather than when the next permit is given back."""
        self._grant()

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

    # -- driving -----------------------------------------------------------------------

    def _grant(self) -> None:
        # Who is granted a permit may give it back at once. The loop that is running goes on then:
        # any number can end at once without a call inside a call.
        if self._held_back:
            return
        self._held_back += 1
        try:
            while (granted := self._queue.grant()) is not None:
                (_go if granted.group is None else granted.group.start)(granted.entries)
        finally:
            self._held_back -= 1

    def _plan(self) -> None:
        """See to it that the reactor calls when the next entry is due."""
        due = self._queue.next_due()
        if due == self._due:
            return
        if self._call is not None:
            self._call.cancel()
            self._call = None
        self._due = due
        if due is not None:
            delay = max(0.0, due - self._clock.seconds())
            self._call = self._clock.callLater(delay, self._wake)

    def _wake(self) -> None:
        self._call = self._due = None
        with self.held_back():
            now = self._clock.seconds()
            while (entry := self._queue.wake(now)) is not None:
                _go([entry])
        self._plan()


def _go(entries: list[Entry]) -> None:
    for entry in entries:
        go, entry.go = entry.go, None
        assert go is not None
        go()
