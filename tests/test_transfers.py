"""Permits by priority and age, and shared transfers."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from blobman import BlobNotFoundError
from blobman.model import BlobKey
from blobman.transfers import Permits, Place, Start, Transfers, Waiter

from .test_bundles import end_quietly


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

KEY = BlobKey("", "blob")
OTHER = BlobKey("", "other")


class TransfersTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.transfers = Transfers(lambda: 1)
        self.under_way: dict[BlobKey, Deferred[None]] = {}
        self.starts: list[BlobKey] = []

    def start(self, key: BlobKey) -> Start:
        async def work(place: Place) -> None:
            async with self.transfers.permits.hold(place):
                self.starts.append(key)
                self.under_way[key] = Deferred()
                await self.under_way[key]

        return work

    def share(self, key: BlobKey = KEY, priority: int = 2, kind: str = "upload") -> Deferred[None]:
        sharing = self.transfers.share(key, kind, priority, self.start(key))
        self.addCleanup(end_quietly, sharing)
        return sharing

    def test_one_who_is_told_cancels_another(self) -> None:
        """As when an application closes its manager at the end of a transfer."""
        first, second, third = (self.share() for _ in range(3))
        first.addCallback(lambda _: second.cancel())
        self.under_way[KEY].callback(None)
        self.successResultOf(first)
        self.failureResultOf(second, CancelledError)
        self.successResultOf(third)

    def test_many_that_end_at_once(self) -> None:
        async def work(place: Place) -> None:
            async with self.transfers.permits.hold(place):
                pass

        self.share()
        others = [
            self.transfers.share(BlobKey("", f"{number}"), "upload", 2, work)
            for number in range(1000)
        ]
        self.under_way[KEY].callback(None)
        for one in others:
            self.successResultOf(one)
        self.assertEqual(self.transfers.permits.active, 0)

    def test_a_start_that_fails_at_once(self) -> None:
        def broken(_: Place) -> Deferred[None]:
            raise BlobNotFoundError("no")

        for _ in range(2):
            sharing = self.transfers.share(KEY, "upload", 2, broken)
            self.failureResultOf(sharing, BlobNotFoundError)

    def test_callers_share_one(self) -> None:
        callers = [self.share() for _ in range(3)]
        self.assertEqual(self.starts, [KEY])
        self.under_way[KEY].callback(None)
        for caller in callers:
            self.assertIsNone(self.successResultOf(caller))
        self.assertEqual(self.transfers.permits.active, 0)

    def test_callers_share_a_failure(self) -> None:
        callers = [self.share() for _ in range(2)]
        self.under_way[KEY].errback(BlobNotFoundError("gone"))
        for caller in callers:
            self.failureResultOf(caller, BlobNotFoundError)
        self.assertEqual(self.transfers.permits.active, 0)

    def test_one_that_ends_at_once(self) -> None:
        async def work(place: Place) -> None:
            self.starts.append(KEY)

        async def broken(place: Place) -> None:
            raise BlobNotFoundError("gone")

        self.successResultOf(self.transfers.share(KEY, "upload", 2, work))
        self.failureResultOf(self.transfers.share(KEY, "upload", 2, broken), BlobNotFoundError)
        self.successResultOf(self.transfers.share(KEY, "upload", 2, work))
        self.assertEqual((self.starts, self.transfers.permits.active), ([KEY, KEY], 0))

    def test_cancelling_one_leaves_the_others(self) -> None:
        one, other = self.share(), self.share()
        one.cancel()
        self.failureResultOf(one, CancelledError)
        self.assertNoResult(other)
        self.under_way[KEY].callback(None)
        self.successResultOf(other)

    def test_cancelling_the_last_cancels_it(self) -> None:
        one, other = self.share(), self.share()
        one.cancel()
        other.cancel()
        self.failureResultOf(one, CancelledError)
        self.failureResultOf(other, CancelledError)
        self.assertTrue(self.under_way[KEY].called)
        self.assertEqual(self.transfers.permits.active, 0)

    def cancelled_while_cleaning(self) -> tuple[Deferred[None], Deferred[None]]:
        cleaning: Deferred[None] = Deferred()

        async def work(place: Place) -> None:
            try:
                await Deferred()
            except CancelledError:
                await cleaning
                raise

        caller = self.transfers.share(KEY, "upload", 2, work)
        caller.cancel()
        return caller, cleaning

    def test_the_last_one_waits_for_the_cleaning_up(self) -> None:
        caller, cleaning = self.cancelled_while_cleaning()
        self.assertNoResult(caller)
        cleaning.callback(None)
        self.failureResultOf(caller, CancelledError)

    def test_a_new_caller_waits_for_the_cleaning_up(self) -> None:
        caller, cleaning = self.cancelled_while_cleaning()
        late = self.share()
        self.assertEqual(self.starts, [])
        cleaning.callback(None)
        self.failureResultOf(caller, CancelledError)
        self.assertEqual(self.starts, [KEY])
        self.under_way[KEY].callback(None)
        self.successResultOf(late)

    def test_cancelling_while_it_waits_for_a_permit(self) -> None:
        self.share(OTHER)
        waiting = self.share()
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.under_way[OTHER].callback(None)
        self.assertEqual((self.starts, self.transfers.permits.active), ([OTHER], 0))

    def test_an_urgent_caller_moves_it_up(self) -> None:
        third = BlobKey("", "third")
        for key in (OTHER, third, KEY):
            self.share(key)
        self.share(KEY, 4)
        self.under_way[OTHER].callback(None)
        self.assertEqual(self.starts, [OTHER, KEY])

    def test_another_kind_is_waited_for(self) -> None:
        first = self.share()
        other = self.share(kind="download")
        self.assertEqual(self.starts, [KEY])
        self.under_way[KEY].errback(BlobNotFoundError("gone"))
        self.failureResultOf(first, BlobNotFoundError)
        self.assertEqual(self.starts, [KEY, KEY])
        self.under_way[KEY].callback(None)
        self.successResultOf(other)

    def replace(self, reason: BaseException) -> Deferred[None]:
        return self.transfers.replace(KEY, "delete", 4, self.start(KEY), reason)

    def test_replaced(self) -> None:
        callers = [self.share(), self.share()]
        gone = BlobNotFoundError("deleted")
        deleting = self.replace(gone)
        for caller in callers:
            self.assertIs(self.failureResultOf(caller).value, gone)
        late = self.share()
        self.assertEqual(self.starts, [KEY, KEY])
        self.under_way[KEY].callback(None)
        self.successResultOf(deleting)
        self.assertEqual(self.starts, [KEY, KEY, KEY])
        self.under_way[KEY].callback(None)
        self.successResultOf(late)

    def test_one_of_the_same_kind_is_not_replaced(self) -> None:
        deleting = [self.replace(BlobNotFoundError("deleted")) for _ in range(2)]
        self.assertEqual(self.starts, [KEY])
        self.under_way[KEY].callback(None)
        for one in deleting:
            self.successResultOf(one)

    def test_the_limit_is_asked_for_when_it_changed(self) -> None:
        limit = 1
        permits = Permits(lambda: limit)
        waiters = [permits.acquire(2) for _ in range(3)]
        limit = 3
        permits.limit_changed()
        self.assertTrue(all(waiter.granted.called for waiter in waiters))
