"""
Who is next: the one queue of what waits for a permit, or for its time.

It has no clock and starts nothing: :class:`.Permits` drives it.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from ..model import BlobKey, Priority

_MANY = 64
"""Empty items that a heap keeps, besides one for each that is not."""


class _Sorted(Protocol):
    """
    What a heap can hold.

    :ivar item: its item in the one heap that holds it; None if none does.
    """

    item: list[Any] | None


S = TypeVar("S", bound=_Sorted)


class _Heap(Generic[S]):
    """
    The smallest first, then who came first. What is taken out leaves an empty item behind.

    :ivar size: how many it holds.
    """

    def __init__(self) -> None:
        self._items: list[list[Any]] = []
        self._numbers = itertools.count()
        self.size = 0

    def add(self, one: S, first: float, second: float) -> None:
        """Put one in, which no heap holds, by two numbers."""
        one.item = item = [first, second, next(self._numbers), one]
        heapq.heappush(self._items, item)
        self.size += 1

    def remove(self, one: S) -> None:
        """Take one out that it holds."""
        item, one.item = one.item, None
        assert item is not None
        item[-1] = None
        self.size -= 1
        if len(self._items) > 2 * self.size + _MANY:
            self._items = [item for item in self._items if item[-1] is not None]
            heapq.heapify(self._items)

    def first(self) -> S | None:
        """Give the first one, which stays."""
        items = self._items
        while items:
            one: S | None = items[0][-1]
            if one is not None:
                return one
            heapq.heappop(items)
        return None


class Entry:
    """
    What waits for its turn: once, or again and again until it is done.

    :ivar key: the blob; None if it is about none.
    :ivar kind: what is to be done.
    :ivar priority: the larger goes first. See :meth:`Queue.promote`.
    :ivar age: the smaller goes first among equals. See :meth:`Queue.new_age`.
    :ivar due: the time that it waits for; None if it waits for none.
    :ivar group: with whom it waits for a permit; None if it waits alone, or for none.
    :ivar go: not used by the queue: called when its time has come, or it has a permit of its own.
    """

    __slots__ = ("age", "due", "go", "group", "item", "key", "kind", "priority")

    def __init__(self, key: BlobKey | None, kind: str, priority: int, age: int) -> None:
        self.key = key
        self.kind = kind
        self.priority = priority
        self.age = age
        self.due: float | None = None
        self.group: Group | None = None
        self.item: list[Any] | None = None
        self.go: Callable[[], object] | None = None


class Group:
    """
    Entries that go together, such as small blobs of one namespace: one permit is for many.

    One request for many costs less than many. So while some are under way, others gather, and go
    at the latest when one of those has ended, or one of them is urgent.

    :ivar start: not used by the queue: starts those that have been granted a permit.
    """

    __slots__ = ("_asks", "_limit", "_under_way", "_waiting", "item", "shown", "start")

    def __init__(self, limit: int, start: Callable[[list[Any]], object]) -> None:
        """
        Nothing waits.

        :param limit: how many go together at most.
        """
        self.start = start
        self.item: list[Any] | None = None
        self.shown: tuple[int, int] | None = None
        self._limit = limit
        self._waiting: _Heap[Entry] = _Heap()
        self._under_way = 0
        self._asks = False

    def add(self, entry: Entry) -> None:
        """Have one wait."""
        self._waiting.add(entry, -entry.priority, entry.age)
        self._asks = self._asks or entry.priority >= Priority.URGENT or self._are_enough()

    def remove(self, entry: Entry) -> None:
        """Have one wait no more."""
        self._waiting.remove(entry)
        self._asks = self._asks and self._waiting.size > 0

    def move(self, entry: Entry) -> None:
        """Have one that waits do so in the place that its priority gives it now."""
        self._waiting.remove(entry)
        self._waiting.add(entry, -entry.priority, entry.age)
        self._asks = self._asks or entry.priority >= Priority.URGENT

    def first(self) -> Entry | None:
        """Give the one whose turn is next, if a permit is asked for."""
        return self._waiting.first() if self._asks else None

    def leave(self) -> list[Entry]:
        """Have the first ones go."""
        going: list[Entry] = []
        while len(going) < self._limit and (entry := self._waiting.first()) is not None:
            self._waiting.remove(entry)
            entry.group = None
            going.append(entry)
        self._under_way += 1
        self._asks = self._are_enough()
        return going

    def came_back(self) -> None:
        """Take note that those who went on one permit have ended."""
        self._under_way -= 1
        self._asks = self._waiting.size > 0

    def _are_enough(self) -> bool:
        waiting = self._waiting.size
        return waiting > 0 and waiting >= self._under_way * self._limit // 2


class Grant(NamedTuple):
    """
    A permit, and who has it.

    :ivar group: None if it is one that goes alone.
    """

    group: Group | None
    entries: list[Entry]


class Queue:
    """
    Grants permits to what waits: the most urgent first, then the oldest.

    Nothing in it takes longer than the logarithm of how many wait.

    :ivar active: how many permits are out.
    """

    def __init__(self, limit: Callable[[], int]) -> None:
        """
        Nothing waits.

        :param limit: asked each time for how many permits there are; 0 counts as 1.
        """
        self.active = 0
        self._limit = limit
        self._ages = itertools.count()
        # Those who ask for a permit: each who goes alone, and each group once.
        self._asking: _Heap[Entry | Group] = _Heap()
        self._later: _Heap[Entry] = _Heap()

    def new_age(self) -> int:
        """Take a number that is higher than all before: a place among equals, kept for later."""
        return next(self._ages)

    def add(self, entry: Entry, group: Group | None = None) -> None:
        """
        Have an entry, which does not wait, wait for a permit.

        :param group: with whom it goes; None if it goes alone.
        """
        if group is None:
            self._asking.add(entry, -entry.priority, entry.age)
            return
        entry.group = group
        group.add(entry)
        if group.shown is None or (-entry.priority, entry.age) < group.shown:
            self._show(group)

    def postpone(self, entry: Entry, due: float) -> None:
        """Have an entry, which does not wait, wait for a time. It needs no permit then."""
        entry.due = due
        self._later.add(entry, due, -entry.priority)

    def remove(self, entry: Entry) -> None:
        """Have an entry wait no more, if it does."""
        if entry.due is not None:
            entry.due = None
            self._later.remove(entry)
        elif (group := entry.group) is not None:
            entry.group = None
            group.remove(entry)
            self._show(group)
        elif entry.item is not None:
            self._asking.remove(entry)

    def promote(self, entry: Entry, priority: int) -> None:
        """Move an entry up to a priority, keeping its age; never down."""
        if priority <= entry.priority:
            return
        entry.priority = priority
        if entry.group is not None:
            entry.group.move(entry)
            self._show(entry.group)
        elif entry.item is not None and entry.due is None:
            self._asking.remove(entry)
            self.add(entry)

    def take(self) -> bool:
        """Take a permit if one is there and nothing waits for it."""
        if self._asking.size or not self._has_permit():
            return False
        self.active += 1
        return True

    def grant(self) -> Grant | None:
        """Grant a permit that is there to who is next. It must be given back by :meth:`release`."""
        if not self._has_permit() or (first := self._asking.first()) is None:
            return None
        self.active += 1
        if isinstance(first, Entry):
            self._asking.remove(first)
            return Grant(None, [first])
        going = first.leave()
        self._show(first)
        return Grant(first, going)

    def release(self, group: Group | None) -> None:
        """
        Take back a permit.

        :param group: who had it; None if it was one alone.
        """
        self.active -= 1
        if group is not None:
            group.came_back()
            self._show(group)

    def wake(self, now: float) -> Entry | None:
        """Give an entry that has been postponed until now, or earlier; it waits no more."""
        entry = self._later.first()
        if entry is None or entry.due is None or entry.due > now:
            return None
        self.remove(entry)
        return entry

    def next_due(self) -> float | None:
        """Say when the next one is due that has been postponed."""
        entry = self._later.first()
        return None if entry is None else entry.due

    def _has_permit(self) -> bool:
        return self.active < (self._limit() or 1)

    def _show(self, group: Group) -> None:
        """Have a group wait in the place of its first entry, if it asks for a permit."""
        first = group.first()
        order = None if first is None else (-first.priority, first.age)
        if order == group.shown:
            return
        if group.shown is not None:
            self._asking.remove(group)
        if order is not None:
            self._asking.add(group, *order)
        group.shown = order
