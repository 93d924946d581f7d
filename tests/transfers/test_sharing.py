"""Shared transfers."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from blobman import BlobNotFoundError
from blobman.model import BlobKey
from blobman.transfers.sharing import Transfers
from blobman.transfers.transfer import Next, Start, Transfer

from .test_bundles import end_quietly

KEY = BlobKey("", "blob")
OTHER = BlobKey("", "other")


class TransfersTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.transfers = Transfers(lambda: 1, self.clock)
        self.under_way: dict[BlobKey, Deferred[None]] = {}
        self.starts: list[BlobKey] = []

    def start(self, key: BlobKey) -> Start:
        async def work(transfer: Transfer) -> None:
            async with self.transfers.permits.hold(transfer):
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
        async def work(transfer: Transfer) -> None:
            async with self.transfers.permits.hold(transfer):
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
        def broken(_: Transfer) -> Deferred[None]:
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
        async def work(transfer: Transfer) -> None:
            self.starts.append(KEY)

        async def broken(transfer: Transfer) -> None:
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

        async def work(transfer: Transfer) -> None:
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

    def test_cancelled_again_by_who_is_told_of_it(self) -> None:
        cleaning: Deferred[None] = Deferred()

        async def work(transfer: Transfer) -> None:
            try:
                await Deferred(lambda _: caller.cancel())
            except CancelledError:
                await cleaning
                raise

        told: list[Failure] = []
        caller = self.transfers.share(KEY, "upload", 2, work)
        caller.addErrback(told.append)
        caller.cancel()
        self.assertEqual(told, [])
        cleaning.callback(None)
        self.assertTrue(told[0].check(CancelledError))

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

    def postpone(self, seconds: float, kind: str = "upload") -> Deferred[None]:
        due = self.clock.seconds() + seconds
        sharing = self.transfers.share(KEY, kind, 2, self.start(KEY), due=due)
        self.addCleanup(end_quietly, sharing)
        return sharing

    def end(self) -> None:
        self.under_way[KEY].callback(None)

    def test_postponed(self) -> None:
        sharing = self.postpone(10)
        self.clock.advance(9)
        self.assertEqual((self.starts, self.transfers.permits.active), ([], 0))
        self.clock.advance(1)
        self.assertEqual(self.starts, [KEY])
        self.end()
        self.successResultOf(sharing)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_who_does_not_want_to_wait_begins_what_was_postponed(self) -> None:
        for kind in ("upload", "download"):
            self.starts.clear()
            waiting, other = self.postpone(10), self.share(kind=kind)
            self.assertEqual(self.starts, [KEY])
            self.end()
            self.successResultOf(waiting)
            if kind == "download":
                self.end()
            self.successResultOf(other)
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_earliest_time_counts(self) -> None:
        for times in ((10, 5), (5, 10)):
            self.starts.clear()
            both = [self.postpone(seconds) for seconds in times]
            self.clock.advance(4)
            self.assertEqual(self.starts, [])
            self.clock.advance(1)
            self.assertEqual(self.starts, [KEY])
            self.end()
            for one in both:
                self.successResultOf(one)

    def test_cancelled_while_it_is_postponed(self) -> None:
        sharing = self.postpone(10)
        sharing.cancel()
        self.failureResultOf(sharing, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.share(OTHER)
        self.assertEqual(self.starts, [OTHER])

    def test_replaced_while_it_is_postponed(self) -> None:
        sharing, gone = self.postpone(10), BlobNotFoundError("deleted")
        deleting = self.replace(gone)
        self.assertIs(self.failureResultOf(sharing).value, gone)
        self.end()
        self.successResultOf(deleting)

    def test_work_that_is_cancelled_by_itself(self) -> None:
        """As when an observer or a store cancels what has just called it."""

        async def work(transfer: Transfer) -> None:
            transfer.cancel()
            await Deferred()

        self.failureResultOf(self.transfers.share(KEY, "upload", 2, work), CancelledError)

    def test_taken_over(self) -> None:
        """Work can hand a transfer to somebody else."""
        taken: list[Transfer] = []

        async def work(transfer: Transfer) -> Next:
            return lambda: taken.append(transfer)

        sharing = self.transfers.share(KEY, "upload", 2, work)
        self.assertNoResult(sharing)
        taken[0].end()
        self.successResultOf(sharing)

    def test_cancelled_while_it_is_taken_over(self) -> None:
        def take_over(transfer: Transfer) -> None:
            transfer.stop = lambda _: transfer.end(Failure(CancelledError()))

        async def work(transfer: Transfer) -> Next:
            transfer.cancel()
            return lambda: take_over(transfer)

        self.failureResultOf(self.transfers.share(KEY, "upload", 2, work), CancelledError)
