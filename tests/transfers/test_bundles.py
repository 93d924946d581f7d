"""Small blobs that go along with one request."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from blobman import RetriableTransferError
from blobman.model import BlobKey
from blobman.transfers.bundles import Bundle, Bundles, Outcome
from blobman.transfers.permits import Permits
from blobman.transfers.queue import Entry
from blobman.transfers.transfer import Transfer


def end_quietly(deferred: Deferred[Any]) -> None:
    """What is left waiting would end when it is collected, in the middle of another test."""
    deferred.addErrback(lambda _: None)
    deferred.cancel()


class BundlesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.requests: list[Bundle] = []
        self.ids: list[list[str]] = []
        self.ends: list[Deferred[None]] = []
        self.cleaning: Deferred[None] | None = None
        self.cancelled = 0
        self.outcomes: dict[str, Outcome | BaseException] = {}
        self.allow(1, at_once=3)

    def allow(self, permits: int, at_once: int) -> None:
        self.permits = Permits(lambda: permits, Clock())
        self.bundles = Bundles(self.permits, self.carry, at_once, "put")

    async def carry(self, bundle: Bundle) -> None:
        self.requests.append(bundle)
        self.ids.append([it.key.blob_id for it in bundle.aboard])
        end: Deferred[None] = Deferred()
        self.ends.append(end)
        try:
            await end
        except CancelledError:
            self.cancelled += 1
            if self.cleaning is not None:
                await self.cleaning
            raise

    def arrived(self, transfer: Transfer, outcome: Outcome | BaseException) -> None:
        self.outcomes[transfer.key.blob_id] = outcome

    def take(self, blob_id: str, priority: int = 2, namespace: str = "") -> Transfer:
        key, age = BlobKey(namespace, blob_id), self.permits.new_age()
        transfer = Transfer(key, "upload", priority, age, lambda _: None)
        self.bundles.add(transfer, self.arrived)
        return transfer

    def end(self, outcome: Outcome | BaseException = Outcome.DONE) -> None:
        bundle, end = self.requests[-1], self.ends[-1]
        for transfer in bundle.aboard:
            bundle.arrive(transfer.key.blob_id, outcome)
        end.callback(None)

    def busy(self) -> None:
        self.assertTrue(self.permits.take())

    def wait(self, priority: int) -> Deferred[None]:
        granted = self.permits.acquire(Entry(None, "", priority, self.permits.new_age()))
        self.addCleanup(end_quietly, granted)
        return granted

    def assertCancelled(self, *names: str) -> None:
        for name in names:
            self.assertIsInstance(self.outcomes[name], CancelledError)

    def test_one_alone(self) -> None:
        self.take("a")
        self.assertEqual(self.ids, [["a"]])
        self.end()
        self.assertEqual((self.outcomes, self.permits.active), ({"a": Outcome.DONE}, 0))

    def test_those_that_wait_go_together(self) -> None:
        for name in "abcde":
            self.take(name)
        self.assertEqual(self.ids, [["a"]])
        self.end()
        self.assertEqual(self.ids, [["a"], ["b", "c", "d"]])
        self.end()
        self.end()
        self.assertEqual(self.ids, [["a"], ["b", "c", "d"], ["e"]])
        self.assertEqual(self.outcomes, dict.fromkeys("abcde", Outcome.DONE))
        self.assertEqual(self.permits.active, 0)

    def test_those_of_another_namespace_go_elsewhere(self) -> None:
        self.busy()
        for name, namespace in (("a", "x"), ("b", "y"), ("c", "x")):
            self.take(name, namespace=namespace)
        self.permits.release()
        self.end()
        self.end()
        self.assertEqual(self.ids, [["a", "c"], ["b"]])
        self.assertEqual([it.namespace for it in self.requests], ["x", "y"])

    def gather(self, *names: str) -> None:
        self.allow(10, at_once=6)
        for name in names:
            self.take(name)

    def test_while_one_is_under_way_others_gather(self) -> None:
        self.gather("a", "b", "c")
        self.assertEqual(self.ids, [["a"]])
        self.take("d")
        self.assertEqual(self.ids, [["a"], ["b", "c", "d"]])

    def test_when_one_has_ended_those_that_gathered_go(self) -> None:
        self.gather("a", "b", "c", "d", "e")
        self.assertEqual(self.ids, [["a"], ["b", "c", "d"]])
        self.end()
        self.assertEqual(self.ids, [["a"], ["b", "c", "d"], ["e"]])

    def test_what_is_urgent_gathers_nobody(self) -> None:
        self.gather("a", "b")
        self.take("c", 4)
        self.assertEqual(self.ids, [["a"], ["c", "b"]])

    def test_what_becomes_urgent_gathers_nobody(self) -> None:
        self.gather("a")
        waiting = self.take("b")
        self.assertEqual(self.ids, [["a"]])
        self.permits.promote(waiting, 4)
        self.assertEqual(self.ids, [["a"], ["b"]])

    def test_most_urgent_first(self) -> None:
        self.busy()
        for name, priority in zip("abcde", (1, 2, 4, 2, 3), strict=True):
            self.take(name, priority)
        self.permits.release()
        self.assertEqual(self.ids, [["c", "e", "b"]])

    def test_asks_for_its_permit_as_urgently_as_the_most_urgent(self) -> None:
        self.busy()
        other = self.wait(3)
        self.take("a", 2)
        self.take("b", 4)
        self.permits.release()
        self.assertEqual((self.ids, other.called), ([["b", "a"]], False))

    def test_promoted(self) -> None:
        self.busy()
        other = self.wait(3)
        self.permits.promote(self.take("a", 1), 4)
        self.permits.release()
        self.assertEqual((self.ids, other.called), ([["a"]], False))

    def test_a_failure_is_each_ones_own(self) -> None:
        self.busy()
        for name in "ab":
            self.take(name)
        self.permits.release()
        cause = OSError("cut")
        error = RetriableTransferError("in a stream: cut", 7.0)
        error.__cause__ = cause
        self.ends[0].errback(error)
        for name in "ab":
            told = self.outcomes[name]
            assert isinstance(told, RetriableTransferError)
            self.assertEqual(str(told), f"put blob '{name}': in a stream: cut")
            self.assertEqual(told.retry_after, 7.0)
            self.assertIs(told.__cause__, cause)
        self.assertEqual(self.permits.active, 0)

    def test_those_that_did_not_arrive_go_with_the_next(self) -> None:
        self.busy()
        for name in "ab":
            self.take(name)
        self.permits.release()
        self.requests[0].arrive("a", Outcome.ALONE)
        self.ends[0].callback(None)
        self.assertEqual(self.outcomes, {"a": Outcome.ALONE})
        self.assertEqual(self.ids, [["a", "b"], ["b"]])
        self.end()
        self.assertEqual(self.outcomes["b"], Outcome.DONE)

    def test_those_that_go_again_go_with_those_that_waited(self) -> None:
        self.busy()
        for name in "abcd":
            self.take(name)
        self.permits.release()
        self.requests[0].arrive("a", Outcome.DONE)
        self.ends[0].callback(None)
        self.assertEqual(self.ids, [["a", "b", "c"], ["b", "c", "d"]])

    def test_if_nobody_arrives_they_go_alone(self) -> None:
        self.take("a")
        self.ends[0].callback(None)
        self.assertEqual(self.outcomes, {"a": Outcome.ALONE})

    def test_cancelled_while_it_waits(self) -> None:
        self.busy()
        gone = self.take("a")
        self.take("b")
        gone.cancel()
        self.assertCancelled("a")
        self.permits.release()
        self.assertEqual(self.ids, [["b"]])

    def test_all_cancelled_while_they_wait(self) -> None:
        self.busy()
        for one in [self.take("a"), self.take("b")]:
            one.cancel()
        self.assertCancelled("a", "b")
        self.permits.release()
        self.assertEqual((self.ids, self.permits.active), ([], 0))

    def test_one_cancelled_on_its_way_leaves_the_others(self) -> None:
        self.busy()
        gone = self.take("a")
        self.take("b")
        self.permits.release()
        gone.cancel()
        # It may still get there, so it is not over.
        self.assertEqual((self.outcomes, self.cancelled), ({}, 0))
        self.end()
        self.assertCancelled("a")
        self.assertEqual(self.outcomes["b"], Outcome.DONE)

    def test_all_cancelled_on_their_way(self) -> None:
        self.busy()
        going = [self.take("a"), self.take("b")]
        self.permits.release()
        self.cleaning = Deferred()
        for one in going:
            one.cancel()
        self.assertEqual((self.outcomes, self.cancelled), ({}, 1))
        self.cleaning.callback(None)
        self.assertCancelled("a", "b")
        self.assertEqual(self.permits.active, 0)

    def test_cancelling_what_is_left_once_some_have_arrived(self) -> None:
        self.busy()
        self.take("a")
        left = self.take("b")
        self.permits.release()
        self.requests[0].arrive("a", Outcome.DONE)
        left.cancel()
        self.assertCancelled("b")
        self.assertEqual((self.cancelled, self.permits.active), (1, 0))

    def test_one_who_is_told_cancels_the_others(self) -> None:
        going: list[Transfer] = []

        noted = self.arrived

        def arrived(transfer: Transfer, outcome: Outcome | BaseException) -> None:
            noted(transfer, outcome)
            for other in going:
                other.cancel()

        self.busy()
        self.patch(self, "arrived", arrived)
        going += [self.take(name) for name in "abc"]
        self.permits.release()
        self.requests[0].arrive("b", Outcome.DONE)
        self.assertEqual(self.outcomes["b"], Outcome.DONE)
        self.assertCancelled("a", "c")
        self.assertEqual(self.permits.active, 0)
