"""Reports of a transfer's progress."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from blobman.interfaces import Progress
from blobman.model import BlobKey
from blobman.transfers.progress import INTERVAL, Reporter, Reports

from ..test_sync import Observer


class ReporterTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.observer = Observer()
        self.report = Reporter(self.clock, self.observer, BlobKey("ns", "x"), "upload")

    def test_not_more_than_ten_times_a_second(self) -> None:
        for done in range(1000):
            self.report(done, 1000)
            self.clock.advance(0.01)
        self.assertLessEqual(len(self.observer.heard), 101)
        self.assertGreaterEqual(len(self.observer.heard), 90)

    def heard(self) -> list[tuple[str, int]]:
        return [(it.state, it.done) for it in self.observer.heard]

    def follow(self, transfer: Callable[[Progress], Awaitable[None]]) -> Deferred[None]:
        reports = Reports(self.clock, self.observer)
        return Deferred.fromCoroutine(reports.of_part(transfer, BlobKey("ns", "x"), "upload"))

    def test_states(self) -> None:
        end: Deferred[None] = Deferred()

        async def transfer(report: Progress) -> None:
            report(5, 10)
            await end
            report(10, 10)

        following = self.follow(transfer)
        self.assertEqual(self.heard(), [])
        self.clock.advance(0)
        self.assertEqual(self.heard(), [("running", 5)])
        self.clock.advance(INTERVAL)
        end.callback(None)
        self.successResultOf(following)
        self.assertEqual(self.heard()[1:], [("running", 10), ("done", 10)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cancelled(self) -> None:
        async def transfer(report: Progress) -> None:
            await Deferred()

        following = self.follow(transfer)
        following.cancel()
        self.failureResultOf(following, CancelledError)
        self.assertEqual([it.state for it in self.observer.heard], ["running", "cancelled"])
