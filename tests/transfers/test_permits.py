"""Permits by priority and age."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from twisted.trial.unittest import SynchronousTestCase

from blobman.transfers.permits import Permits, Waiter


class PermitsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.limit = 1
        self.permits = Permits(lambda: self.limit)
        self.started: list[str] = []

    def wait(self, name: str, priority: int, age: int | None = None) -> Waiter:
        waiter = self.permits.acquire(priority, age)
        waiter.granted.addCallbacks(lambda _: self.started.append(name), lambda _: None)
        return waiter

    def drain(self) -> None:
        while self.permits.active:
            self.permits.release()

    def test_most_urgent_then_oldest(self) -> None:
        for name, priority in [("a", 2), ("b", 1), ("c", 4), ("d", 2), ("e", 4), ("f", 3)]:
            self.wait(name, priority)
        self.drain()
        # "a" found the permit free.
        self.assertEqual(self.started, ["a", "c", "e", "f", "d", "b"])

    def test_fifty_waiting_and_an_urgent_one(self) -> None:
        self.limit = 3
        for number in range(50):
            self.wait(f"{number % 3 + 1}-{number:02}", number % 3 + 1)
        first, self.started[:] = self.started[:], []
        self.assertEqual(first, ["1-00", "2-01", "3-02"])
        self.wait("urgent", 4)
        self.drain()
        self.assertEqual(self.started[0], "urgent")
        rest = self.started[1:]
        self.assertEqual(rest, sorted(rest, key=lambda name: (-int(name[0]), name[2:])))
        self.assertEqual(len(rest), 47)

    def test_never_more_than_the_limit(self) -> None:
        self.limit = 3
        for number in range(10):
            self.wait(str(number), 2)
        self.assertEqual((self.permits.active, len(self.started)), (3, 3))

    def test_limit_is_read_live(self) -> None:
        for number in range(5):
            self.wait(str(number), 2)
        self.limit = 3
        self.permits.release()
        self.assertEqual(self.permits.active, 3)
        self.limit = 1
        self.permits.release()
        self.permits.release()
        self.assertEqual((self.permits.active, len(self.started)), (1, 4))

    def test_no_limit_stops_everything(self) -> None:
        self.limit = 0
        self.wait("a", 2)
        self.assertEqual(self.started, ["a"])

    def test_promoted(self) -> None:
        self.wait("first", 2)
        low, high = self.wait("low", 1), self.wait("high", 3)
        low.promote(4)
        high.promote(1)
        self.drain()
        self.assertEqual(self.started, ["first", "low", "high"])

    def test_promotion_keeps_the_age(self) -> None:
        self.wait("first", 2)
        old, _ = self.wait("old", 1), self.wait("young", 3)
        old.promote(3)
        self.drain()
        self.assertEqual(self.started, ["first", "old", "young"])

    def test_cancelled_waiter_is_skipped(self) -> None:
        self.wait("first", 2)
        waiter = self.wait("gone", 4)
        self.wait("next", 1)
        waiter.granted.cancel()
        waiter.promote(4)
        self.drain()
        self.assertEqual(self.started, ["first", "next"])

    def test_any_number_may_end_at_once(self) -> None:
        self.wait("first", 2)
        for number in range(5000):
            waiter = self.wait(str(number), 2)
            waiter.granted.addCallback(lambda _: self.permits.release())
        self.permits.release()
        self.assertEqual(self.started, ["first", *map(str, range(5000))])
        self.assertEqual(self.permits.active, 0)

    def test_one_who_asks_while_another_is_granted(self) -> None:
        self.wait("first", 2)
        self.wait("second", 2).granted.addCallback(lambda _: self.wait("urgent", 4))
        self.wait("third", 2)
        self.drain()
        self.assertEqual(self.started, ["first", "second", "urgent", "third"])

    def test_held_back(self) -> None:
        self.wait("first", 2)
        waiters = [self.wait(name, 2) for name in ("gone", "kept")]
        with self.permits.held_back():
            self.permits.release()
            waiters[0].granted.cancel()
            self.wait("urgent", 4)
            self.assertFalse(self.permits.take())
            self.assertEqual(self.started, ["first"])
        self.assertEqual(self.started, ["first", "urgent"])
        self.drain()
        self.assertEqual(self.started, ["first", "urgent", "kept"])

    def test_age_taken_earlier(self) -> None:
        age = self.permits.new_age()
        self.wait("first", 2)
        self.wait("young", 2)
        self.wait("old", 2, age)
        self.drain()
        self.assertEqual(self.started, ["first", "old", "young"])


class PermitsMachine(RuleBasedStateMachine):
    """Against a model: a list that is sorted anew each time."""

    def __init__(self) -> None:
        super().__init__()
        self.limit = 2
        self.permits = Permits(lambda: self.limit)
        self.waiting: list[Waiter] = []
        self.granted: list[Waiter] = []
        self.expected: list[Waiter] = []

    def settle(self) -> None:
        while self.waiting and len(self.expected) < max(1, self.limit):
            first = min(self.waiting, key=lambda waiter: (-waiter.priority, waiter.age))
            self.waiting.remove(first)
            self.expected.append(first)

    @rule(priority=st.integers(1, 4))
    def acquire(self, priority: int) -> None:
        waiter = self.permits.acquire(priority)
        self.waiting.append(waiter)
        self.settle()

    @precondition(lambda self: self.expected)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        self.expected.remove(data.draw(st.sampled_from(self.expected)))
        # The model is told first: it has to foresee who is next.
        self.settle()
        self.permits.release()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        waiter = data.draw(st.sampled_from(self.waiting))
        self.waiting.remove(waiter)
        waiter.granted.addErrback(lambda _: None)
        waiter.granted.cancel()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data(), priority=st.integers(1, 4))
    def promote(self, data: st.DataObject, priority: int) -> None:
        data.draw(st.sampled_from(self.waiting)).promote(priority)

    @rule(limit=st.integers(0, 4))
    def change_limit(self, limit: int) -> None:
        self.limit = limit
        waiter = self.permits.acquire(1)
        self.waiting.append(waiter)
        self.settle()

    @invariant()
    def agree(self) -> None:
        assert self.permits.active == len(self.expected)
        assert all(waiter.granted.called for waiter in self.expected)
        assert not any(waiter.granted.called for waiter in self.waiting)


PermitsModelTests = PermitsMachine.TestCase
PermitsModelTests.__module__ = __name__
