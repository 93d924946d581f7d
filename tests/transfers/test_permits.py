"""Permits by priority and age, and what waits for its time."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from blobman.transfers.permits import Permits
from blobman.transfers.queue import Entry


class PermitsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.limit = 1
        self.clock = Clock()
        self.permits = Permits(lambda: self.limit, self.clock)
        self.started: list[str] = []
        self.granted: dict[str, Deferred[None]] = {}

    def wait(self, name: str, priority: int, age: int | None = None) -> Entry:
        entry = Entry(None, name, priority, self.permits.new_age() if age is None else age)
        granted = self.granted[name] = self.permits.acquire(entry)
        granted.addCallbacks(lambda _: self.started.append(name), lambda _: None)
        return entry

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
        self.permits.promote(low, 4)
        self.permits.promote(high, 1)
        self.drain()
        self.assertEqual(self.started, ["first", "low", "high"])

    def test_promotion_keeps_the_age(self) -> None:
        self.wait("first", 2)
        old, _ = self.wait("old", 1), self.wait("young", 3)
        self.permits.promote(old, 3)
        self.drain()
        self.assertEqual(self.started, ["first", "old", "young"])

    def test_cancelled_waiter_is_skipped(self) -> None:
        self.wait("first", 2)
        waiter = self.wait("gone", 4)
        self.wait("next", 1)
        self.granted["gone"].cancel()
        self.permits.promote(waiter, 4)
        self.drain()
        self.assertEqual(self.started, ["first", "next"])

    def test_any_number_may_end_at_once(self) -> None:
        self.wait("first", 2)
        for number in range(5000):
            self.wait(str(number), 2)
            self.granted[str(number)].addCallback(lambda _: self.permits.release())
        self.permits.release()
        self.assertEqual(self.started, ["first", *map(str, range(5000))])
        self.assertEqual(self.permits.active, 0)

    def test_one_who_asks_while_another_is_granted(self) -> None:
        self.wait("first", 2)
        self.wait("second", 2)
        self.granted["second"].addCallback(lambda _: self.wait("urgent", 4))
        self.wait("third", 2)
        self.drain()
        self.assertEqual(self.started, ["first", "second", "urgent", "third"])

    def test_held_back(self) -> None:
        self.wait("first", 2)
        for name in ("gone", "kept"):
            self.wait(name, 2)
        with self.permits.held_back():
            self.permits.release()
            self.granted["gone"].cancel()
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

    def test_a_limit_that_has_changed(self) -> None:
        for number in range(3):
            self.wait(str(number), 2)
        self.limit = 3
        self.permits.limit_changed()
        self.assertEqual(self.started, ["0", "1", "2"])

    def sleep(self, seconds: float) -> Deferred[None]:
        return self.permits.sleep(Entry(None, "", 2, self.permits.new_age()), seconds)

    def test_what_waits_for_a_time(self) -> None:
        self.wait("first", 2)
        late, early, gone = (self.sleep(seconds) for seconds in (0.3, 0.1, 0.05))
        gone.cancel()
        self.failureResultOf(gone, CancelledError)
        # However many wait.
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.advance(0.1)
        self.successResultOf(early)
        self.assertNoResult(late)
        self.clock.advance(0.2)
        self.successResultOf(late)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_who_waits_again_when_its_time_has_come(self) -> None:
        times: list[float] = []

        def again(_: None) -> None:
            times.append(self.clock.seconds())
            if len(times) < 3:
                self.sleep(1).addCallback(again)

        self.sleep(1).addCallback(again)
        self.clock.pump([0.5] * 10)
        self.assertEqual(times, [1, 2, 3])
