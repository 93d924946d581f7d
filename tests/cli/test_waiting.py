from __future__ import annotations

from threading import Event
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase, TestCase

from blobman.cli.waiting import in_lanes, in_thread, until_ended


class UntilEndedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.deferred: Deferred[int] = Deferred()
        self.cancels = 0

    def wait(self) -> Deferred[int]:
        return Deferred.fromCoroutine(until_ended(self.deferred, self.count_cancel))

    def count_cancel(self) -> None:
        self.cancels += 1

    def test_a_result(self) -> None:
        waiting = self.wait()
        self.assertNoResult(waiting)
        self.deferred.callback(1)
        self.assertEqual(self.successResultOf(waiting), 1)

    def test_a_failure(self) -> None:
        waiting = self.wait()
        self.deferred.errback(KeyError("x"))
        self.failureResultOf(waiting, KeyError)

    def test_what_has_ended_before(self) -> None:
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(until_ended(succeed(1)))), 1)
        failed: Deferred[int] = fail(KeyError("x"))
        self.failureResultOf(Deferred.fromCoroutine(until_ended(failed)), KeyError)

    def test_cancelling_does_not_end_it(self) -> None:
        waiting = self.wait()
        for count in (1, 2):
            waiting.cancel()
            self.assertEqual(self.cancels, count)
            self.assertNoResult(waiting)
        self.deferred.callback(1)
        self.assertEqual(self.successResultOf(waiting), 1)

    def test_it_ends_by_being_told(self) -> None:
        waiting = self.wait()
        waiting.cancel()
        self.deferred.errback(CancelledError())
        self.failureResultOf(waiting, CancelledError)


class InThreadTests(TestCase):
    async def test_a_result(self) -> None:
        self.assertEqual(await in_thread(reactor, lambda stop: stop.is_set()), False)

    async def test_cancelling_waits_for_the_thread(self) -> None:
        entered: Deferred[None] = Deferred()
        steps: list[str] = []
        running: Any = reactor

        def work(stop: Event) -> None:
            running.callFromThread(entered.callback, None)
            stop.wait()
            steps.append("stopped")
            raise CancelledError

        working = Deferred.fromCoroutine(in_thread(reactor, work))
        await entered
        working.cancel()
        await self.assertFailure(working, CancelledError)
        self.assertEqual(steps, ["stopped"])


class InLanesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.under_way: dict[int, Deferred[None]] = {}
        self.cancelled: list[int] = []

    async def work(self, item: int) -> None:
        self.under_way[item] = Deferred()
        try:
            await self.under_way[item]
        except CancelledError:
            self.cancelled.append(item)
            raise

    def start(self, lanes: int, items: int) -> Deferred[None]:
        return Deferred.fromCoroutine(in_lanes(lanes, range(items), self.work))

    def test_so_many_at_a_time(self) -> None:
        done = self.start(2, 4)
        self.assertEqual(list(self.under_way), [0, 1])
        self.under_way[1].callback(None)
        self.assertEqual(list(self.under_way), [0, 1, 2])
        for item in (0, 2, 3):
            self.assertNoResult(done)
            self.under_way[item].callback(None)
        self.successResultOf(done)

    def test_nothing_to_do(self) -> None:
        self.successResultOf(self.start(2, 0))

    def test_a_failure_cancels_the_others(self) -> None:
        done = self.start(3, 9)
        self.under_way[1].errback(KeyError("x"))
        self.failureResultOf(done, KeyError)
        self.assertEqual(self.cancelled, [0, 2])
        self.assertEqual(list(self.under_way), [0, 1, 2])

    def test_a_failure_at_once(self) -> None:
        async def refuse(item: int) -> None:
            self.cancelled.append(item)
            raise KeyError("x")

        done: Deferred[None] = Deferred.fromCoroutine(in_lanes(3, range(9), refuse))
        self.failureResultOf(done, KeyError)
        self.assertEqual(self.cancelled, [0])

    def test_cancelling(self) -> None:
        done = self.start(2, 4)
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.assertEqual(self.cancelled, [0, 1])
