"""The queue of what waits, and the queue against a list that is searched anew each time."""

from __future__ import annotations

import tracemalloc

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from twisted.trial.unittest import SynchronousTestCase

from blobman.model import BlobKey
from blobman.transfers.queue import Entry, Grant, Group, Queue

URGENT = 4


def nothing(_: object) -> None:
    """Start nothing: that is for who drives the queue."""


class QueueTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.limit = 1
        self.queue = Queue(lambda: self.limit)

    def add(self, name: str, priority: int = 2, group: Group | None = None) -> Entry:
        entry = Entry(BlobKey("", name), "put", priority, self.queue.new_age())
        self.queue.add(entry, group)
        return entry

    def grant(self) -> list[str]:
        """Grant what can be granted."""
        granted = []
        while (grant := self.queue.grant()) is not None:
            granted.append("".join(it.key.blob_id for it in grant.entries if it.key is not None))
            self.group = grant.group
        return granted

    def drain(self) -> list[str]:
        granted = self.grant()
        while self.queue.active:
            self.queue.release(self.group)
            granted += self.grant()
        return granted

    def test_most_urgent_then_oldest(self) -> None:
        for name, priority in [("a", 2), ("b", 1), ("c", 4), ("d", 2), ("e", 4), ("f", 3)]:
            self.add(name, priority)
        self.assertEqual(self.drain(), ["c", "e", "f", "a", "d", "b"])

    def test_the_limit_is_asked_for_each_time(self) -> None:
        for name in "abcd":
            self.add(name)
        for self.limit, granted in ((0, ["a"]), (1, []), (3, ["b", "c"])):
            self.assertEqual(self.grant(), granted)

    def test_promoted_to_its_age(self) -> None:
        for name in "ab":
            self.add(name, 3)
        old, _, low = self.add("c", 1), self.add("d", 3), self.add("e", 2)
        self.queue.promote(old, 3)
        self.queue.promote(low, 1)
        self.assertEqual(self.drain(), ["a", "b", "c", "d", "e"])

    def test_what_is_removed_is_not_granted(self) -> None:
        gone = self.add("a")
        self.add("b")
        self.queue.remove(gone)
        self.queue.promote(gone, 4)
        self.queue.remove(gone)
        self.assertEqual(self.drain(), ["b"])

    def test_a_bundle_stands_where_its_most_urgent_does(self) -> None:
        bundle = Group(2, nothing)
        self.add("a", 1, bundle)
        self.add("b", 2)
        self.add("c", 3, bundle)
        self.assertEqual(self.drain(), ["ca", "b"])

    def test_promoting_the_only_one_that_asks(self) -> None:
        self.limit = 3
        bundle = Group(4, nothing)
        self.add("a", 2, bundle)
        self.assertEqual(self.grant(), ["a"])
        self.limit = 1
        waiting = self.add("b", 1, bundle)
        self.queue.release(bundle)
        self.queue.promote(waiting, 2)
        self.assertEqual(self.grant(), ["b"])

    def test_what_waits_for_a_time_needs_no_permit(self) -> None:
        self.assertTrue(self.queue.take())
        late, early, gone = (Entry(None, "retry", 2, self.queue.new_age()) for _ in range(3))
        self.queue.postpone(late, 7.0)
        self.queue.postpone(early, 5.0)
        self.queue.postpone(gone, 1.0)
        self.queue.remove(gone)
        self.assertEqual(self.queue.next_due(), 5.0)
        self.assertIsNone(self.queue.wake(4.9))
        self.assertEqual([self.queue.wake(7.0) for _ in range(3)], [early, late, None])
        self.assertIsNone(self.queue.next_due())

    def test_of_those_that_are_due_the_most_urgent_goes_first(self) -> None:
        entries = [Entry(None, "retry", priority, 0) for priority in (1, 4, 2)]
        for entry in entries:
            self.queue.postpone(entry, 5.0)
        self.queue.promote(entries[0], 2)
        woken = [self.queue.wake(5.0) for _ in entries]
        self.assertIs(woken[0], entries[1])
        self.assertEqual({it.priority for it in woken[1:] if it is not None}, {2})

    def test_what_is_removed_is_held_no_more(self) -> None:
        # Else a run that is cancelled again and again beside an urgent one would fill the memory.
        self.add("first", URGENT)
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        for _ in range(10_000):
            self.queue.remove(self.add("gone"))
        self.assertLess(tracemalloc.get_traced_memory()[0], 100_000)


class _Waiting:
    """What the model knows of an entry."""

    def __init__(self, entry: Entry, namespace: str | None, due: float | None) -> None:
        self.entry = entry
        self.namespace = namespace
        self.due = due


LIMIT = 3
"""How many go in a bundle."""


class QueueMachine(RuleBasedStateMachine):
    """Single entries, bundles of two namespaces, and what waits for its time."""

    def __init__(self) -> None:
        super().__init__()
        self.limit = 2
        self.now = 0.0
        self.queue = Queue(lambda: self.limit)
        self.groups: dict[str | None, Group | None] = {
            None: None,
            "x": Group(LIMIT, nothing),
            "y": Group(LIMIT, nothing),
        }
        self.waiting: list[_Waiting] = []
        self.asking: set[str] = set()
        self.granted: list[Grant] = []

    # What is expected, in the simplest way.

    def members(self, namespace: str | None) -> list[_Waiting]:
        found = [it for it in self.waiting if it.due is None and it.namespace == namespace]
        return sorted(found, key=lambda it: (-it.entry.priority, it.entry.age))

    def under_way(self, namespace: str | None) -> int:
        return sum(grant.group is self.groups[namespace] for grant in self.granted)

    def note_asking(self, namespace: str | None, urgent: bool = False) -> None:
        if namespace is not None:
            waiting = len(self.members(namespace))
            if waiting and (urgent or waiting >= self.under_way(namespace) * LIMIT // 2):
                self.asking.add(namespace)
            if not waiting:
                self.asking.discard(namespace)

    def expected(self) -> list[Entry]:
        firsts = [
            self.members(it)[0].entry for it in (None, *sorted(self.asking)) if self.members(it)
        ]
        if not firsts or len(self.granted) >= max(1, self.limit):
            return []
        first = min(firsts, key=lambda it: (-it.priority, it.age))
        (namespace,) = [it.namespace for it in self.waiting if it.entry is first]
        count = 1 if namespace is None else LIMIT
        return [it.entry for it in self.members(namespace)[:count]]

    # What happens.

    @rule(priority=st.integers(1, 4), namespace=st.sampled_from([None, "x", "y"]))
    def add(self, priority: int, namespace: str | None) -> None:
        entry = Entry(None, "put", priority, self.queue.new_age())
        self.queue.add(entry, self.groups[namespace])
        self.waiting.append(_Waiting(entry, namespace, None))
        self.note_asking(namespace, priority == URGENT)

    @rule(priority=st.integers(1, 4), seconds=st.integers(0, 5))
    def postpone(self, priority: int, seconds: int) -> None:
        entry = Entry(None, "retry", priority, self.queue.new_age())
        self.queue.postpone(entry, self.now + seconds)
        self.waiting.append(_Waiting(entry, None, self.now + seconds))

    @rule(seconds=st.integers(1, 5))
    def pass_time(self, seconds: int) -> None:
        self.now += seconds
        due = {it.entry for it in self.waiting if it.due is not None and it.due <= self.now}
        woken = []
        while (entry := self.queue.wake(self.now)) is not None:
            woken.append(entry)
        assert (set(woken), len(woken)) == (due, len(due))
        self.waiting = [it for it in self.waiting if it.entry not in due]

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        gone = data.draw(st.sampled_from(self.waiting))
        self.waiting.remove(gone)
        self.queue.remove(gone.entry)
        if gone.namespace is not None and not self.members(gone.namespace):
            self.asking.discard(gone.namespace)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data(), priority=st.integers(1, 4))
    def promote(self, data: st.DataObject, priority: int) -> None:
        one = data.draw(st.sampled_from(self.waiting))
        is_higher = priority > one.entry.priority
        self.queue.promote(one.entry, priority)
        if is_higher and priority == URGENT and one.due is None and one.namespace is not None:
            self.asking.add(one.namespace)

    @rule()
    def grant(self) -> None:
        expected = self.expected()
        grant = self.queue.grant()
        assert (grant.entries if grant else []) == expected
        if grant is None:
            return
        namespace = next(key for key, group in self.groups.items() if group is grant.group)
        self.waiting = [it for it in self.waiting if it.entry not in expected]
        self.granted.append(grant)
        if namespace is not None:
            self.asking.discard(namespace)
            self.note_asking(namespace)

    @rule()
    def take(self) -> None:
        is_free = len(self.granted) < max(1, self.limit)
        asks = any(it.due is None and it.namespace is None for it in self.waiting) or self.asking
        taken = self.queue.take()
        assert taken == (is_free and not asks)
        if taken:
            self.granted.append(Grant(None, []))

    @precondition(lambda self: self.granted)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        grant = data.draw(st.sampled_from(self.granted))
        self.granted.remove(grant)
        self.queue.release(grant.group)
        for namespace in ("x", "y"):
            if grant.group is self.groups[namespace] and self.members(namespace):
                self.asking.add(namespace)

    @rule(limit=st.integers(0, 4))
    def change_limit(self, limit: int) -> None:
        self.limit = limit

    @invariant()
    def agree(self) -> None:
        assert self.queue.active == len(self.granted)
        times = [it.due for it in self.waiting if it.due is not None]
        assert self.queue.next_due() == min(times, default=None)


QueueModelTests = QueueMachine.TestCase
QueueModelTests.__module__ = __name__
