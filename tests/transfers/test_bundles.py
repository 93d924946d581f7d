"""Small blobs that go along with one request."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from blobman import RetriableTransferError
from blobman.interfaces import no_progress
from blobman.model import BlobKey
from blobman.transfers.bundles import Bundler, Outcome, Passenger
from blobman.transfers.permits import Permits, Place


def end_quietly(deferred: Deferred[Any]) -> None:
    """What is left waiting would end when it is collected, in the middle of another test."""
    deferred.addErrback(lambda _: None)
    deferred.cancel()


class BundlerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.permits = Permits(lambda: 1)
        self.bundler = Bundler(self.permits, self.carry, limit=3)
        self.requests: list[list[Passenger]] = []
        self.ends: list[Deferred[None]] = []
        self.cleaning: Deferred[None] | None = None
        self.cancelled = 0

    async def carry(self, passengers: list[Passenger]) -> None:
        self.requests.append(passengers)
        end: Deferred[None] = Deferred()
        self.ends.append(end)
        try:
            await end
        except CancelledError:
            self.cancelled += 1
            if self.cleaning is not None:
                await self.cleaning
            raise

    def take(self, blob_id: str, priority: int = 2) -> Deferred[Outcome]:
        place = Place(priority, self.permits.new_age())
        key = BlobKey("", blob_id)
        taken = self.bundler.take_along("put", key, place, no_progress)
        self.addCleanup(end_quietly, taken)
        return taken

    def test_cancelling_what_is_left_once_some_have_arrived(self) -> None:
        self.busy()
        done, left = self.take("a"), self.take("b")
        self.permits.release()
        self.requests[0][0].arrive(Outcome.DONE)
        self.successResultOf(done)
        left.cancel()
        self.failureResultOf(left, CancelledError)
        self.assertEqual((self.cancelled, self.permits.active), (1, 0))

    def ids(self) -> list[list[str]]:
        return [[it.key.blob_id for it in passengers] for passengers in self.requests]

    def end(self, outcome: Outcome | BaseException = Outcome.DONE) -> None:
        for passenger in self.requests[-1]:
            passenger.arrive(outcome)
        self.ends[-1].callback(None)

    def busy(self) -> None:
        self.successResultOf(self.permits.acquire(4).granted)

    def test_one_alone(self) -> None:
        going = self.take("a")
        self.assertEqual(self.ids(), [["a"]])
        self.end()
        self.assertIs(self.successResultOf(going), Outcome.DONE)
        self.assertEqual(self.permits.active, 0)

    def test_those_that_wait_go_together(self) -> None:
        going = [self.take(name) for name in "abcde"]
        self.assertEqual(self.ids(), [["a"]])
        self.end()
        self.assertEqual(self.ids(), [["a"], ["b", "c", "d"]])
        self.end()
        self.end()
        self.assertEqual(self.ids(), [["a"], ["b", "c", "d"], ["e"]])
        self.assertEqual({self.successResultOf(it) for it in going}, {Outcome.DONE})
        self.assertEqual(self.permits.active, 0)

    def gather(self, *names: str) -> None:
        self.permits = Permits(lambda: 10)
        self.bundler = Bundler(self.permits, self.carry, limit=6)
        for name in names:
            self.take(name)

    def test_while_one_is_under_way_others_gather(self) -> None:
        self.gather("a", "b", "c")
        self.assertEqual(self.ids(), [["a"]])
        self.take("d")
        self.assertEqual(self.ids(), [["a"], ["b", "c", "d"]])

    def test_when_one_has_ended_those_that_gathered_go(self) -> None:
        self.gather("a", "b", "c", "d", "e")
        self.assertEqual(self.ids(), [["a"], ["b", "c", "d"]])
        self.end()
        self.assertEqual(self.ids(), [["a"], ["b", "c", "d"], ["e"]])

    def test_what_is_urgent_gathers_nobody(self) -> None:
        self.gather("a", "b")
        self.take("c", 4)
        self.assertEqual(self.ids(), [["a"], ["c", "b"]])

    def test_what_waits_for_a_permit_already_becomes_more_urgent(self) -> None:
        self.gather("a")
        self.permits = self.bundler._permits = Permits(lambda: 1)
        self.busy()
        for name in "bcd":
            self.take(name)
        other = self.permits.acquire(3)
        place = Place(3, 0)
        going = self.bundler.take_along("put", BlobKey("", "e"), place, no_progress)
        self.addCleanup(end_quietly, going)
        self.permits.release()
        self.assertEqual((self.ids()[1:], other.granted.called), ([["e", "b", "c", "d"]], False))

    def test_what_becomes_urgent_gathers_nobody(self) -> None:
        self.gather("a")
        place = Place(2, self.permits.new_age())
        going = self.bundler.take_along("put", BlobKey("", "b"), place, no_progress)
        self.addCleanup(end_quietly, going)
        self.assertEqual(self.ids(), [["a"]])
        place.promote(4)
        self.assertEqual(self.ids(), [["a"], ["b"]])

    def test_most_urgent_first(self) -> None:
        self.busy()
        for name, priority in zip("abcde", (1, 2, 4, 2, 3), strict=True):
            self.take(name, priority)
        self.permits.release()
        self.assertEqual(self.ids(), [["c", "e", "b"]])

    def test_asks_for_its_permit_as_urgently_as_the_most_urgent(self) -> None:
        self.busy()
        other = self.permits.acquire(3)
        self.take("a", 2)
        self.take("b", 4)
        self.permits.release()
        self.assertEqual((self.ids(), other.granted.called), ([["b", "a"]], False))

    def test_promoted(self) -> None:
        self.busy()
        other = self.permits.acquire(3)
        place = Place(1, self.permits.new_age())
        going = self.bundler.take_along("put", BlobKey("", "a"), place, no_progress)
        self.addCleanup(end_quietly, going)
        place.promote(4)
        self.permits.release()
        self.assertEqual((self.ids(), other.granted.called), ([["a"]], False))

    def test_a_failure_is_each_ones_own(self) -> None:
        self.busy()
        going = [self.take(name) for name in "ab"]
        self.permits.release()
        cause = OSError("cut")
        error = RetriableTransferError("in a stream: cut", 7.0)
        error.__cause__ = cause
        self.ends[0].errback(error)
        for name, one in zip("ab", going, strict=True):
            failure = self.failureResultOf(one, RetriableTransferError)
            self.assertEqual(str(failure.value), f"put blob '{name}': in a stream: cut")
            self.assertEqual(failure.value.retry_after, 7.0)
            self.assertIs(failure.value.__cause__, cause)
        self.assertEqual(self.permits.active, 0)

    def test_those_that_did_not_arrive(self) -> None:
        self.busy()
        going = [self.take(name) for name in "ab"]
        self.permits.release()
        self.requests[0][0].arrive(Outcome.ALONE)
        self.ends[0].callback(None)
        self.assertIs(self.successResultOf(going[0]), Outcome.ALONE)
        self.assertIs(self.successResultOf(going[1]), Outcome.AGAIN)

    def test_if_nobody_arrives_they_go_alone(self) -> None:
        going = self.take("a")
        self.ends[0].callback(None)
        self.assertIs(self.successResultOf(going), Outcome.ALONE)

    def test_cancelled_while_it_waits(self) -> None:
        self.busy()
        gone, stays = self.take("a"), self.take("b")
        gone.cancel()
        self.failureResultOf(gone, CancelledError)
        self.permits.release()
        self.assertEqual(self.ids(), [["b"]])
        self.end()
        self.successResultOf(stays)

    def test_all_cancelled_while_they_wait(self) -> None:
        self.busy()
        for one in [self.take("a"), self.take("b")]:
            one.cancel()
            self.failureResultOf(one, CancelledError)
        self.permits.release()
        self.assertEqual((self.ids(), self.permits.active), ([], 0))

    def test_one_cancelled_on_its_way_leaves_the_others(self) -> None:
        self.busy()
        gone, stays = self.take("a"), self.take("b")
        self.permits.release()
        gone.cancel()
        # It may still get there, so it is not over.
        self.assertNoResult(gone)
        self.assertEqual(self.cancelled, 0)
        self.end()
        self.failureResultOf(gone, CancelledError)
        self.assertIs(self.successResultOf(stays), Outcome.DONE)

    def test_all_cancelled_on_their_way(self) -> None:
        self.busy()
        going = [self.take("a"), self.take("b")]
        self.permits.release()
        self.cleaning = Deferred()
        for one in going:
            one.cancel()
        for one in going:
            self.assertNoResult(one)
        self.assertEqual(self.cancelled, 1)
        self.cleaning.callback(None)
        for one in going:
            self.failureResultOf(one, CancelledError)
        self.assertEqual(self.permits.active, 0)
