"""Threads and their queue: what is done together, and what comes after what."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from blobman import threads
from blobman.errors import ClosedError
from blobman.local.workers import Job, Kind, run_together
from blobman.threads import Outbox, Workers

from .pump import Pump


def double(_: Any, items: Sequence[int]) -> list[int]:
    return [2 * item for item in items]


def triple(_: Any, items: Sequence[int]) -> list[int]:
    return [3 * item for item in items]


class _Stopped(Clock):
    """Time does not pass; what a thread hands over waits to be called."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Callable[[], None]] = []

    def callFromThread(self, work: Callable[[], None]) -> None:
        self.waiting.append(work)


class WorkersTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.pump: Any = Pump()
        self.batches: list[int] = []
        self.rests: list[bool] = []
        self.rested = threading.Event()

    def start(self, **options: Any) -> Workers[Job[Any]]:
        made: Workers[Job[Any]] = Workers("test", 1, self.run_batch, Outbox(self.pump), **options)
        made.start()
        self.addCleanup(made.join)
        self.addCleanup(made.close)
        return made

    def run_batch(self, jobs: Sequence[Job[Any]]) -> None:
        self.batches.append(len(jobs))
        run_together(None, jobs)

    def rest(self, idle: bool) -> None:
        self.rests.append(idle)
        if idle and False in self.rests:
            self.rested.set()

    def hold(self, made: Workers[Job[Any]]) -> tuple[Deferred[Any], threading.Event]:
        """Keep the thread busy until the event is set."""
        gate, reached = threading.Event(), threading.Event()

        def wait(_: Any) -> None:
            reached.set()
            gate.wait(60)

        held = made.begin(Job(wait, None))
        reached.wait(60)
        return held, gate

    def of_kind(self, made: Workers[Job[Any]], kind: Kind[int], *items: int) -> list[Deferred[int]]:
        return [made.begin(Job.of_kind(kind, item, None)) for item in items]

    def results(self, deferreds: list[Deferred[int]]) -> list[int]:
        return [self.pump.wait(deferred) for deferred in deferreds]

    def test_of_a_kind_together(self) -> None:
        made = self.start(most=3)
        _, gate = self.hold(made)
        begun = self.of_kind(made, double, 1, 2, 3, 4)
        gate.set()
        self.assertEqual(self.results(begun), [2, 4, 6, 8])
        self.assertEqual(self.batches, [1, 3, 1])

    def test_a_cancelled_one_is_told_when_the_thread_is_done_with_it(self) -> None:
        made = self.start()
        held, gate = self.hold(made)
        done: list[str] = []
        queued = made.begin(Job(lambda _: done.append("queued"), None))
        for cancelled in (held, queued):
            cancelled.cancel()
            self.assertNoResult(cancelled)
        gate.set()
        for cancelled in (held, queued):
            self.assertRaises(CancelledError, self.pump.wait, cancelled)
        self.assertEqual(done, [])

    def test_a_cancelled_one_is_told_when_it_is_undone(self) -> None:
        made = self.start()
        undone: list[int | None] = []
        undoing: Deferred[None] = Deferred()
        is_done = threading.Event()

        def do(_: Any) -> int:
            is_done.set()
            return 5

        def undo(result: int | None) -> Deferred[None]:
            undone.append(result)
            return undoing

        work = made.begin(Job(do, undo))
        is_done.wait(60)
        work.cancel()
        while not undone:
            self.pump.step()
        self.assertEqual(undone, [5])
        self.assertNoResult(work)
        undoing.callback(None)
        self.failureResultOf(work, CancelledError)

    def test_another_kind_comes_next(self) -> None:
        made = self.start(most=9)
        _, gate = self.hold(made)
        begun = self.of_kind(made, double, 1, 2)
        begun += self.of_kind(made, triple, 1, 2)
        begun.append(made.begin(Job(lambda _: 1, None)))
        begun.append(made.begin(Job(lambda _: 2, None)))
        begun += self.of_kind(made, double, 3)
        gate.set()
        self.assertEqual(self.results(begun), [2, 4, 3, 6, 1, 2, 6])
        self.assertEqual(self.batches[:2], [1, 2])
        self.assertEqual(sum(self.batches), 8)

    def test_nothing_is_taken_that_another_thread_could_do(self) -> None:
        """One thread has much to do; what comes meanwhile is for the other one."""
        made: Workers[Job[Any]] = Workers("test", 2, self.run_batch, Outbox(self.pump), most=9)
        made.start()
        self.addCleanup(made.join)
        self.addCleanup(made.close)
        gates = [self.hold(made) for _ in range(2)]
        gate, reached = threading.Event(), threading.Event()

        def wait(_: Any) -> None:
            reached.set()
            gate.wait(60)

        slow = made.begin(Job(wait, None))
        quick = made.begin(Job(lambda _: 1, None))
        for _, opened in gates:
            opened.set()
        self.assertTrue(reached.wait(60))
        self.assertEqual(self.pump.wait(quick), 1)
        gate.set()
        self.pump.wait(slow)

    def test_mixed(self) -> None:
        made = self.start(most=9, mixed=True)
        _, gate = self.hold(made)
        begun = self.of_kind(made, double, 1, 2)
        begun.append(made.begin(Job(lambda _: 1, None)))
        begun += self.of_kind(made, triple, 1, 2)
        gate.set()
        self.assertEqual(self.results(begun), [2, 4, 1, 3, 6])
        self.assertEqual(self.batches, [1, 5])

    def test_cancelled_among_others(self) -> None:
        made = self.start(most=9)
        _, gate = self.hold(made)
        begun = self.of_kind(made, double, 1, 2, 3)
        cancelled = begun.pop(1)
        cancelled.cancel()
        gate.set()
        self.assertEqual(self.results(begun), [2, 6])
        self.failureResultOf(cancelled, CancelledError)
        self.assertEqual(self.batches, [1, 2])

    def test_closed_while_some_wait(self) -> None:
        """What was taken from the queue for later fails as what is still in it does."""
        made = self.start(most=9)
        held, gate = self.hold(made)
        begun = self.of_kind(made, double, 1, 2)
        begun += self.of_kind(made, triple, 1)
        made.close()
        gate.set()
        made.join()
        self.pump.wait(held)
        for deferred in begun:
            self.assertRaises(ClosedError, self.pump.wait, deferred)
        self.assertRaises(ClosedError, self.pump.wait, made.begin(Job(lambda _: None, None)))

    def test_turns_need_no_clock(self) -> None:
        """A reactor whose clock is somebody else's still gets all that has ended."""
        clock: Any = _Stopped()
        self.patch(threads, "TURN", 1e-4)
        jobs: list[Job[int]] = [Job(lambda _: 1, None) for _ in range(50)]
        for job in jobs:
            job.succeed(1)
        results = [job.deferred for job in jobs]
        Outbox(clock).deliver(jobs)
        while clock.waiting:
            clock.waiting.pop(0)()
        self.assertEqual([self.successResultOf(it) for it in results], [1] * 50)
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_rests_after_each_batch_and_when_nothing_comes(self) -> None:
        made = self.start(rest=self.rest, idle=0.001)
        self.pump.wait(made.begin(Job(lambda _: None, None)))
        self.assertTrue(self.rested.wait(60))
        self.assertEqual(self.rests[-2:], [False, True])
        # It still works afterwards.
        self.assertEqual(self.pump.wait(made.begin(Job(lambda _: 5, None))), 5)
