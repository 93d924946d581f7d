"""Shared transfers."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from blobman import BlobNotFoundError
from blobman.model import BlobKey
from blobman.transfers.permits import Permits, Place
from blobman.transfers.sharing import Start, Transfers

from .test_bundles import end_quietly

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
