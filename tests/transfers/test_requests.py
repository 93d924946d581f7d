"""Short requests: their order, and what becomes of them when the server asks to come later."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from blobman import Priority, RetriableTransferError, UnauthorizedError
from blobman.transfers.permits import Permits
from blobman.transfers.requests import Requests

from .test_bundles import end_quietly


class RequestsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.requests = Requests(Permits(lambda: 2, self.clock), lambda seconds: seconds)
        self.under_way: dict[str, Deferred[str]] = {}
        self.made: list[str] = []

    def tearDown(self) -> None:
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.requests.permits.active, 0)

    def make(self, name: str, priority: int = Priority.DEFAULT) -> Deferred[str]:
        async def request() -> str:
            self.made.append(name)
            self.under_way[name] = Deferred()
            return await self.under_way[name]

        making = Deferred.fromCoroutine(self.requests.make(priority, request))
        self.addCleanup(end_quietly, making)
        return making

    def answer(self, *names: str) -> None:
        for name in names:
            self.under_way.pop(name).callback(name.upper())

    def ask_to_come_later(self, name: str, seconds: float | None) -> None:
        error = RetriableTransferError("too many requests (429)", seconds)
        self.under_way.pop(name).errback(error)

    def test_the_most_urgent_first_some_at_a_time(self) -> None:
        made = [self.make(name) for name in "abc"]
        made.append(self.make("urgent", Priority.URGENT))
        self.assertEqual(self.made, ["a", "b"])
        self.answer("a")
        self.assertEqual(self.made, ["a", "b", "urgent"])
        self.answer("b", "urgent", "c")
        self.assertEqual([self.successResultOf(one) for one in made], ["A", "B", "C", "URGENT"])

    def test_made_again_when_the_server_says(self) -> None:
        making = self.make("a")
        for seconds in (5, 0):
            self.ask_to_come_later("a", seconds)
            self.assertNoResult(making)
            self.clock.advance(4.5 if seconds else 10)
            self.assertEqual(self.under_way, {})
            self.clock.advance(1)
            self.assertEqual(list(self.under_way), ["a"])
        self.answer("a")
        self.assertEqual(self.successResultOf(making), "A")
        self.assertEqual(self.made, ["a"] * 3)

    def test_no_permit_is_held_meanwhile(self) -> None:
        self.make("a")
        self.make("b")
        late = self.make("late")
        self.ask_to_come_later("a", 5)
        self.answer("late")
        self.assertEqual(self.successResultOf(late), "LATE")
        self.clock.advance(5)
        self.answer("a", "b")

    def test_an_urgent_one_goes_before_one_that_comes_back(self) -> None:
        self.make("a")
        self.make("b")
        self.ask_to_come_later("a", 5)
        self.make("c")
        self.make("urgent", Priority.URGENT)
        self.clock.advance(5)
        self.answer("b")
        self.assertEqual(self.made, ["a", "b", "c", "urgent"])
        self.answer("c", "urgent", "a")

    def test_not_for_longer_than_a_minute(self) -> None:
        making = self.make("a")
        for seconds in (1, 20, 35):
            self.ask_to_come_later("a", seconds)
            self.clock.advance(seconds)
        self.ask_to_come_later("a", 5)
        error = self.failureResultOf(making, RetriableTransferError).value
        self.assertEqual(error.retry_after, 5)

    def test_asked_for_an_hour(self) -> None:
        making = self.make("a")
        self.ask_to_come_later("a", 3600)
        self.failureResultOf(making, RetriableTransferError)

    def test_other_errors_come_out_at_once(self) -> None:
        cut, refused = self.make("cut"), self.make("refused")
        self.ask_to_come_later("cut", None)
        self.under_way.pop("refused").errback(UnauthorizedError("no"))
        self.failureResultOf(cut, RetriableTransferError)
        self.failureResultOf(refused, UnauthorizedError)

    def test_cancelled_at_any_time(self) -> None:
        asked, waiting, later, queued = (self.make(name) for name in ("a", "b", "c", "d"))
        self.ask_to_come_later("a", 5)
        for one in (queued, asked, later, waiting):
            one.cancel()
            self.failureResultOf(one, CancelledError)
