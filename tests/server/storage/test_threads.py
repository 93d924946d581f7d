"""Work in threads: its results, its end, and what is not done any more."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.interfaces import IReactorFromThreads
from twisted.trial.unittest import SynchronousTestCase, TestCase

from blobman import threads
from blobman.errors import ClosedError
from blobman.server.storage import threads as server_threads
from blobman.server.storage.catalogue.sqlite import SQLiteCatalogue
from blobman.server.storage.interface import UnavailableError
from blobman.server.storage.threads import CLOSED, Ending, Inline, Threads
from blobman.threads import Work


class ThreadsTests(TestCase):
    def make(self, count: int = 1, **options: Any) -> Threads:
        workers = Threads(reactor, "test", count, **options)
        self.addCleanup(workers.close)
        return workers

    def hold(self, workers: Threads) -> threading.Event:
        """Keep a thread busy until the event is set."""
        gate, begun = threading.Event(), threading.Event()

        def wait() -> None:
            begun.set()
            gate.wait()

        workers.begin(wait)
        begun.wait()
        return gate

    async def test_results(self) -> None:
        workers = self.make(3)
        done = [workers.begin(lambda number=number: number) for number in range(50)]
        self.assertEqual(await gatherResults(done), list(range(50)))
        await self.assertFailure(workers.begin(lambda: 1 // 0), ZeroDivisionError)

    async def test_what_waits_is_done_together(self) -> None:
        groups: list[int] = []

        def run(works: Sequence[Work[Any]]) -> None:
            groups.append(len(works))
            for work in works:
                work.attempt(work.call)

        workers = self.make(run=run, most=4)
        gate = self.hold(workers)
        done = gatherResults([workers.begin(lambda: None) for _ in range(10)])
        gate.set()
        await done
        self.assertEqual(groups, [1, 4, 4, 2])

    async def test_cancelled_before_it_begins(self) -> None:
        workers, calls = self.make(), []
        gate = self.hold(workers)
        first, second = workers.begin(lambda: calls.append(1)), workers.begin(lambda: 2)
        first.cancel()
        await self.assertFailure(first, CancelledError)
        gate.set()
        self.assertEqual((await second, calls), (2, []))

    async def test_cancelled_while_it_is_done(self) -> None:
        workers = self.make()
        gate, begun = threading.Event(), threading.Event()
        released: Deferred[str] = Deferred()

        def work() -> str:
            begun.set()
            gate.wait()
            return "something to be released"

        working = workers.begin(work, released.callback)
        begun.wait()
        working.cancel()
        await self.assertFailure(working, CancelledError)
        gate.set()
        self.assertEqual(await released, "something to be released")

    async def test_closed(self) -> None:
        workers = self.make(2)
        gates = [self.hold(workers), self.hold(workers)]
        waiting = workers.begin(lambda: None)
        closing = [workers.close(), workers.close()]
        for gate in gates:
            self.assertFalse([it for it in closing if it.called])
            gate.set()
        await self.assertFailure(waiting, ClosedError)
        await gatherResults(closing)
        await self.assertFailure(workers.begin(lambda: None), ClosedError)
        await workers.close()

    async def test_rest(self) -> None:
        self.patch(server_threads, "IDLE", 0.0)
        rested = threading.Event()
        workers = self.make(rest=rested.set)
        await workers.begin(lambda: None)
        rested.wait()

    async def test_no_more_threads(self) -> None:
        before = set(threading.enumerate())
        start = threading.Thread.start

        def refuse(thread: threading.Thread) -> None:
            if thread.name in ("blobman-test-2", "blobman-reader-0"):
                raise RuntimeError("can't start new thread")
            start(thread)

        self.patch(threading.Thread, "start", refuse)
        self.assertRaises(UnavailableError, self.make, 3)
        folder = os.path.abspath(self.mktemp())
        catalogue = SQLiteCatalogue(folder, reactor)
        await self.assertFailure(catalogue.open(), UnavailableError)
        self.patch(threading.Thread, "start", start)
        # It has let go of the folder, and begins anew.
        for another in (SQLiteCatalogue(folder, reactor), catalogue):
            await another.open()
            self.assertEqual(await another.usage(), [])
            await another.close()
        for thread in set(threading.enumerate()) - before:
            if thread.name.startswith("blobman-"):
                thread.join(60)
                self.assertFalse(thread.is_alive(), thread.name)

    async def test_a_turn_for_others(self) -> None:
        self.patch(threads, "TURN", -1.0)
        workers = self.make(most=100)
        gate = self.hold(workers)
        order: list[str] = []

        def told(_: object) -> None:
            order.append("told")
            cast(IReactorFromThreads, reactor).callFromThread(order.append, "other")

        done = [workers.begin(lambda: None).addCallback(told) for _ in range(3)]
        gate.set()
        await gatherResults(done)
        self.assertEqual(order[:4], ["told", "other", "told", "other"])


class InlineTests(SynchronousTestCase):
    def test_at_once(self) -> None:
        worker = Inline()
        self.assertEqual(self.successResultOf(worker.begin(lambda: 1)), 1)
        self.failureResultOf(worker.begin(lambda: 1 // 0), ZeroDivisionError)
        self.successResultOf(worker.close())
        self.failureResultOf(worker.begin(lambda: 1), ClosedError)

    def test_what_is_not_open(self) -> None:
        self.failureResultOf(CLOSED.begin(lambda: 1), ClosedError)
        self.successResultOf(CLOSED.close())


class EndingTests(SynchronousTestCase):
    def test_once(self) -> None:
        gate: Deferred[None] = Deferred()
        times = 0

        async def end() -> None:
            nonlocal times
            times += 1
            await gate

        ending = Ending(end)
        first, second = ending.reach(), ending.reach()
        self.assertNoResult(first)
        self.assertNoResult(second)
        gate.callback(None)
        for done in (first, second, ending.reach()):
            self.successResultOf(done)
        self.assertEqual(times, 1)

    def test_that_fails(self) -> None:
        async def end() -> None:
            raise ZeroDivisionError

        self.failureResultOf(Ending(end).reach(), ZeroDivisionError)
