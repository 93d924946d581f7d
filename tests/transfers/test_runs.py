"""A run of transfers: order, retries, ends. Without real time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from blobman import (
    BlobNotFoundError,
    DeletedMeanwhile,
    QuotaExceededError,
    RetriableTransferError,
    ServerError,
    UnauthorizedError,
)
from blobman.model import BlobKey, QueuedTransfer
from blobman.transfers import runs
from blobman.transfers.queue import Entry
from blobman.transfers.runs import PAGE_SIZE, TURN, TransferRun, pages_of
from blobman.transfers.sharing import Transfers
from blobman.transfers.transfer import Start, Transfer

from .test_bundles import end_quietly


class PagesTests(SynchronousTestCase):
    def test_each_once_in_order(self) -> None:
        for count in (0, 1, PAGE_SIZE, PAGE_SIZE + 1, 3 * PAGE_SIZE):
            ids = [f"{number}" for number in range(count)]
            page = pages_of(ids)
            found: list[QueuedTransfer] = []
            while more := self.successResultOf(page(found[-1] if found else None)):
                self.assertLessEqual(len(more), PAGE_SIZE)
                found += more
            self.assertEqual([it.blob_id for it in found], ids)
            self.assertEqual(found, sorted(found, key=lambda it: it.place))


class RunTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.transfers = Transfers(lambda: 3, self.clock)
        self.permits = self.transfers.permits
        self.blobs: list[QueuedTransfer] = []
        self.page_size = 4
        self.attempts: list[str] = []
        self.under_way: dict[str, Deferred[None]] = {}
        self.cancelled: list[str] = []
        self.jitter: Callable[[float], float] = lambda seconds: seconds
        self.given_up: set[str] = set()

    def tearDown(self) -> None:
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.permits.active, 0)

    def queue(self, *priorities: int) -> None:
        queued = [
            QueuedTransfer(f"{priority}-{age:02}", priority, age)
            for age, priority in enumerate(priorities)
        ]
        self.blobs = sorted(queued, key=lambda it: it.place)

    def page(self, after: QueuedTransfer | None) -> Deferred[list[QueuedTransfer]]:
        start = 0 if after is None else self.blobs.index(after) + 1
        return succeed(self.blobs[start : start + self.page_size])

    def attempt(self, queued: QueuedTransfer, due: float | None) -> Deferred[None]:
        return self.transfers.share(
            BlobKey("", queued.blob_id),
            "upload",
            queued.priority,
            self.start(queued.blob_id),
            self.age,
            due,
        )

    def start(self, blob_id: str) -> Start:
        async def work(transfer: Transfer) -> None:
            async with self.permits.hold(transfer):
                self.attempts.append(blob_id)
                self.under_way[blob_id] = Deferred(lambda _: self.cancelled.append(blob_id))
                try:
                    await self.under_way[blob_id]
                finally:
                    del self.under_way[blob_id]

        return work

    def run_it(self) -> Deferred[BaseException | None]:
        self.age = self.permits.new_age()
        look_again = self.transfers.watch_cancellations()
        self.present = TransferRun(
            self.clock,
            lambda s: self.jitter(s),
            self.page,
            self.attempt,
            look_again,
            given_up=self.given_up,
        )
        running = Deferred.fromCoroutine(self.present.run())
        self.addCleanup(end_quietly, running)
        return running

    def wait(self, priority: int) -> Deferred[None]:
        return self.permits.acquire(Entry(None, "", priority, self.permits.new_age()))

    def finish(self, *blob_ids: str) -> None:
        for blob_id in blob_ids:
            self.under_way[blob_id].callback(None)

    def fail_with(self, error: Exception, *blob_ids: str) -> None:
        for blob_id in blob_ids:
            self.under_way[blob_id].errback(error)

    def finish_all(self) -> None:
        while self.under_way:
            self.finish(next(iter(self.under_way)))

    def test_others_that_come(self) -> None:
        self.queue(2, 2, 2)
        running = self.run_it()
        self.fail_with(RetriableTransferError("not now"), "2-00")
        self.finish("2-01", "2-02")
        self.assertEqual(self.attempts, ["2-00", "2-01", "2-02"])
        # One waits for its retry; what has come since goes at once, and that one still in its time.
        self.queue(2, 2, 2, 2)
        del self.blobs[1:3]
        self.present.refresh()
        self.assertEqual(self.attempts[3:], ["2-03"])
        self.finish("2-03")
        self.blobs = self.blobs[:1]
        self.clock.advance(1)
        self.assertEqual(self.attempts[4:], ["2-00"])
        self.finish("2-00")
        self.assertIsNone(self.successResultOf(running))

    def test_others_that_come_at_its_end(self) -> None:
        self.queue(2)
        pages: list[Deferred[list[QueuedTransfer]]] = []
        honest = self.page

        def page(after: QueuedTransfer | None) -> Deferred[list[QueuedTransfer]]:
            pages.append(Deferred())
            return pages[-1]

        self.patch(self, "page", page)
        running = self.run_it()
        self.present.refresh()
        # That page may be from before.
        pages[0].callback([])
        self.assertNoResult(running)
        pages[1].callback(self.successResultOf(honest(None)))
        pages[2].callback([])
        self.finish_all()
        self.assertIsNone(self.successResultOf(running))
        self.assertEqual(self.attempts, ["2-00"])

    def test_what_was_given_up_before_is_left_alone(self) -> None:
        self.queue(2, 2)
        self.given_up.add("2-00")
        running = self.run_it()
        self.fail_with(ServerError("no", 400), "2-01")
        self.assertIsInstance(self.successResultOf(running), ServerError)
        self.assertEqual((self.attempts, self.given_up), (["2-01"], {"2-00", "2-01"}))

    def test_nothing_to_do(self) -> None:
        self.assertIsNone(self.successResultOf(self.run_it()))

    def test_order_and_limit(self) -> None:
        self.queue(*(number % 4 + 1 for number in range(50)))
        running = self.run_it()
        self.assertEqual(len(self.under_way), 3)
        self.finish_all()
        self.assertIsNone(self.successResultOf(running))
        self.assertEqual(self.attempts, [queued.blob_id for queued in self.blobs])

    def test_the_reactor_gets_its_turn_while_many_are_begun(self) -> None:
        self.queue(*[2] * 30)
        begun: list[str] = []
        attempt = self.attempt

        def slow(queued: QueuedTransfer, due: float | None) -> Deferred[None]:
            begun.append(queued.blob_id)
            self.clock.rightNow += TURN * 0.3
            return attempt(queued, due)

        turns: list[int] = []
        later = self.clock.callLater

        def noted(*arguments: Any) -> Any:
            turns.append(len(begun))
            return later(*arguments)

        self.patch(self, "attempt", slow)
        self.patch(self.clock, "callLater", noted)
        running = self.run_it()
        self.assertEqual((turns, len(begun)), ([4], 4))
        self.clock.advance(0)
        self.assertEqual(turns, list(range(4, 30, 4)))
        self.finish_all()
        self.assertIsNone(self.successResultOf(running))
        self.assertEqual(self.attempts, begun)

    def test_cancelled_between_two_turns(self) -> None:
        self.queue(*[2] * 30)
        attempt = self.attempt

        def slow(queued: QueuedTransfer, due: float | None) -> Deferred[None]:
            self.clock.rightNow += 2 * TURN
            return attempt(queued, due)

        self.patch(self, "attempt", slow)
        running = self.run_it()
        running.cancel()
        self.failureResultOf(running, CancelledError)
        self.assertEqual(self.cancelled, ["2-00"])

    def test_an_urgent_one_from_elsewhere_overtakes(self) -> None:
        self.queue(*[3] * 10)
        running = self.run_it()
        urgent = self.wait(4)
        self.finish("3-00")
        self.assertTrue(urgent.called)
        self.assertEqual(self.attempts, ["3-00", "3-01", "3-02"])
        self.permits.release()
        self.finish_all()
        self.successResultOf(running)

    def test_a_late_one_of_the_same_priority_waits(self) -> None:
        self.queue(*[2] * 10)
        running = self.run_it()
        late = self.wait(2)
        self.finish("2-00", "2-01", "2-02")
        self.assertFalse(late.called)
        self.finish_all()
        self.assertTrue(late.called)
        self.permits.release()
        self.successResultOf(running)

    def test_retries_on_schedule(self) -> None:
        self.queue(2)
        running = self.run_it()
        for delay in (1, 11, 21, 31, 41, 51, 60, 60):
            self.fail_with(RetriableTransferError("cut"), "2-00")
            self.assertEqual(self.permits.active, 0)
            self.clock.advance(delay - 0.5)
            self.assertEqual(self.under_way, {})
            self.clock.advance(0.5)
            self.assertEqual(list(self.under_way), ["2-00"])
        self.finish("2-00")
        self.assertIsNone(self.successResultOf(running))

    def test_retry_after(self) -> None:
        self.queue(2)
        running = self.run_it()
        self.fail_with(RetriableTransferError("busy", retry_after=100), "2-00")
        self.clock.advance(99)
        self.assertEqual(self.under_way, {})
        self.clock.advance(1)
        self.finish("2-00")
        self.assertIsNone(self.successResultOf(running))

    def test_what_a_stranger_says_is_tried_three_times(self) -> None:
        self.queue(2, 2)
        running = self.run_it()
        self.finish("2-01")
        page = ServerError("HTML", 200, may_pass=True)
        for delay in (1, 11):
            self.fail_with(page, "2-00")
            self.clock.advance(delay)
        self.assertNoResult(running)
        self.fail_with(page, "2-00")
        self.assertIs(self.successResultOf(running), page)

    def test_jitter_that_fails(self) -> None:
        def broken(seconds: float) -> float:
            raise ZeroDivisionError("the application's")

        for jitter, kind in ((broken, ZeroDivisionError), (lambda _: -1.0, ValueError)):
            self.jitter = jitter
            self.queue(2, 2)
            running = self.run_it()
            self.fail_with(RetriableTransferError("cut"), "2-00")
            self.failureResultOf(running, kind)
            self.assertEqual(self.under_way, {})

    def test_others_go_on_meanwhile(self) -> None:
        self.queue(2, 2, 2, 2, 2)
        running = self.run_it()
        self.fail_with(RetriableTransferError("cut"), "2-00")
        self.assertEqual(sorted(self.under_way), ["2-01", "2-02", "2-03"])
        self.finish_all()
        self.assertNoResult(running)
        self.clock.advance(1)
        self.finish_all()
        self.assertIsNone(self.successResultOf(running))
        self.assertEqual(len(self.attempts), 6)

    def test_a_retry_is_as_urgent_as_before(self) -> None:
        self.queue(4, 1, 1, 1, 1, 1, 1)
        running = self.run_it()
        self.fail_with(RetriableTransferError("cut"), "4-00")
        self.clock.advance(1)
        self.finish("1-01")
        self.assertIn("4-00", self.under_way)
        self.finish_all()
        self.successResultOf(running)

    def test_a_permanent_failure_ends_that_blob_only(self) -> None:
        self.queue(2, 2, 2, 2, 2)
        running = self.run_it()
        first = QuotaExceededError("full")
        self.fail_with(first, "2-01")
        self.fail_with(ServerError("odd", 418), "2-00")
        self.finish_all()
        self.assertIs(self.successResultOf(running), first)
        self.assertEqual(len(self.attempts), 5)

    def test_not_found_is_not_retried(self) -> None:
        self.queue(2)
        running = self.run_it()
        self.fail_with(BlobNotFoundError("gone"), "2-00")
        self.assertIsInstance(self.successResultOf(running), BlobNotFoundError)

    def test_deleted_meanwhile_is_no_error(self) -> None:
        self.queue(2)
        running = self.run_it()
        self.fail_with(DeletedMeanwhile("gone"), "2-00")
        self.assertIsNone(self.successResultOf(running))

    def test_unauthorized_ends_the_run_at_once(self) -> None:
        self.queue(*[2] * 10)
        running = self.run_it()
        self.fail_with(RetriableTransferError("cut"), "2-00")
        self.fail_with(UnauthorizedError("no"), "2-01")
        self.failureResultOf(running, UnauthorizedError)
        # Another one had got its permit before the answer was known.
        self.assertEqual(sorted(self.cancelled), ["2-02", "2-03", "2-04"])
        self.assertEqual(len(self.attempts), 5)

    def test_cancelled(self) -> None:
        self.queue(*[2] * 10)
        running = self.run_it()
        self.fail_with(RetriableTransferError("cut"), "2-00")
        running.cancel()
        self.failureResultOf(running, CancelledError)
        self.assertEqual(sorted(self.cancelled), ["2-01", "2-02", "2-03"])

    def test_no_more_are_begun_while_very_many_wait_for_their_retry(self) -> None:
        for name, count in (("WINDOW", 4), ("REFILL", 2), ("MOST_RETRIES", 5)):
            self.patch(runs, name, count)
        self.queue(*[2] * 30)
        running = self.run_it()
        while self.under_way:
            self.fail_with(RetriableTransferError("cut"), next(iter(self.under_way)))
        # What had been begun, has been tried; what the next pages have, has not.
        self.assertLess(len(self.attempts), 15)
        while not running.called:
            self.clock.advance(1)
            self.finish_all()
        self.assertIsNone(self.successResultOf(running))
        self.assertEqual(set(self.attempts), {it.blob_id for it in self.blobs})

    def test_what_fails_while_the_run_is_cancelled_is_not_tried_again(self) -> None:
        async def work(transfer: Transfer) -> None:
            try:
                await Deferred()
            except CancelledError:
                raise RetriableTransferError("cut") from None

        self.queue(2)
        self.patch(self, "start", lambda _: work)
        running = self.run_it()
        running.cancel()
        self.failureResultOf(running, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_many_retries_take_one_delayed_call(self) -> None:
        self.queue(*[2] * 30)
        running = self.run_it()
        while self.under_way:
            self.fail_with(RetriableTransferError("cut"), next(iter(self.under_way)))
        self.assertEqual((len(self.attempts), len(self.clock.getDelayedCalls())), (30, 1))
        self.clock.advance(1)
        self.finish_all()
        self.assertIsNone(self.successResultOf(running))

    def test_cancelled_while_all_wait_for_their_retry(self) -> None:
        self.queue(2)
        running = self.run_it()
        self.fail_with(RetriableTransferError("cut"), "2-00")
        running.cancel()
        self.failureResultOf(running, CancelledError)

    def begin_undoing(self) -> Deferred[None]:
        """
        Have another caller cancel a transfer of a blob that seems to have moved already.

        :return: to be fired: then the blob is in the list again.
        """
        undone: Deferred[None] = Deferred()
        undone.addCallback(lambda _: setattr(self, "blobs", [QueuedTransfer("undone", 2, 99)]))

        async def work(transfer: Transfer) -> None:
            try:
                await Deferred()
            finally:
                await undone

        other = self.transfers.share(BlobKey("", "undone"), "upload", 2, work)
        other.addErrback(lambda failure: failure.trap(CancelledError))
        other.cancel()
        return undone

    def test_what_others_undo_is_done_again(self) -> None:
        for is_undone_first in (True, False):
            self.queue(2)
            running = self.run_it()
            undone = self.begin_undoing()
            if is_undone_first:
                undone.callback(None)
            self.finish("2-00")
            if not is_undone_first:
                self.assertNoResult(running)
                undone.callback(None)
            self.finish("undone")
            self.blobs = []
            self.assertIsNone(self.successResultOf(running))

    def test_looking_again_is_no_further_attempt(self) -> None:
        self.queue(2)
        running = self.run_it()
        self.begin_undoing().callback(None)
        self.queue(2)
        self.fail_with(QuotaExceededError("full"), "2-00")
        self.assertIsInstance(self.successResultOf(running), QuotaExceededError)
        self.assertEqual(self.attempts, ["2-00"])

    def test_a_page_that_fails(self) -> None:
        self.queue(2, 2, 2, 2, 2)
        pages = self.page

        def broken(after: QueuedTransfer | None) -> Deferred[list[QueuedTransfer]]:
            if after is not None:
                raise ServerError("broken")
            return pages(after)

        self.page = broken  # type: ignore[method-assign]
        running = self.run_it()
        self.failureResultOf(running, ServerError)
        self.assertEqual(sorted(self.cancelled), ["2-00", "2-01", "2-02"])
