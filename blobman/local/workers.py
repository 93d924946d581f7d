"""
Threads that work off a queue, and Deferreds that tell how it went.

Results go back to the reactor together: one wake-up for all that ended meanwhile.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure

from ..errors import ClosedError

__all__ = ["Job", "Outbox", "Relay", "TwoSteps", "Workers"]

T = TypeVar("T")

_TURN = 0.005
"""Seconds for which Deferreds fire before the reactor gets a turn for other things."""


class Job(Generic[T]):
    """
    A piece of work on its way through a thread.

    :ivar work: what is to be done; called in a thread with what the worker works with.
    :ivar cancelled: nobody wants it any more.
    :ivar deferred: tells how it went; gone afterwards.
    """

    __slots__ = ("_failure", "_result", "_undo", "cancelled", "deferred", "work")

    def __init__(self, work: Callable[[Any], T], undo: Callable[[T | None], object] | None) -> None:
        self.work = work
        self.cancelled = False
        self.deferred: Deferred[T] = Deferred(self._cancel)
        self._undo = undo
        self._result: T | None = None
        self._failure: Failure | None = None

    def is_ready_for_more(self) -> bool:
        """Whether a step is done and another one is left, which :attr:`work` is now."""
        return False

    def _cancel(self, _: Deferred[T]) -> None:
        # Safe at any time: a worker skips it, or takes its work back, or `fire` undoes it.
        self.cancelled = True

    def succeed(self, result: T) -> None:
        """Keep the result; in the thread."""
        self._result, self._failure = result, None

    def fail(self, error: BaseException) -> None:
        """Keep the failure; in the thread."""
        self._failure = Failure(error)

    def fire(self) -> None:
        """Tell how it went; in the reactor's thread."""
        deferred = self.deferred
        del self.deferred, self.work  # What both hold should not wait for the garbage collector.
        if self.cancelled:
            if self._undo is not None:
                self._undo(None if self._failure is not None else self._result)
        elif self._failure is not None:
            deferred.errback(self._failure)
        else:
            deferred.callback(self._result)  # type: ignore[arg-type]


class TwoSteps(Job[T]):
    """
    A piece of work for one kind of thread, then another with what it gave for another kind.

    :param first: called as :attr:`work` is.
    :param second: called in the other thread with what its worker works with, and with what
        ``first`` returned.
    """

    __slots__ = ("_second",)

    def __init__(
        self,
        first: Callable[[Any], Any],
        second: Callable[[Any, Any], T],
        undo: Callable[[T | None], object] | None,
    ) -> None:
        super().__init__(first, undo)
        self._second: Callable[[Any, Any], T] | None = second

    def is_ready_for_more(self) -> bool:
        """Whether the first step is done, and nothing is in the way of the second."""
        second, self._second = self._second, None
        given, self._result = self._result, None
        if second is None or self._failure is not None or self.cancelled:
            return False
        self.work = lambda what: second(what, given)
        return True


class Outbox:
    """Carries ended jobs from the threads to the reactor."""

    def __init__(self, reactor: IReactorFromThreads) -> None:
        self._reactor = reactor
        self._lock = threading.Lock()
        self._ended: deque[Job[Any]] = deque()
        self._called = False

    def deliver(self, jobs: Sequence[Job[Any]]) -> None:
        """Have these fire in the reactor's thread, soon; called in a thread."""
        with self._lock:
            self._ended.extend(jobs)
            called, self._called = self._called, True
        if not called:
            self._reactor.callFromThread(self._turn)

    def _turn(self) -> None:
        if self.fire(_TURN):
            self._reactor.callFromThread(self._turn)

    def fire(self, limit: float = math.inf) -> bool:
        """
        Fire what has ended; in the reactor's thread.

        :param limit: for how many seconds.
        :return: whether there may be more.
        """
        end = time.monotonic() + limit
        while time.monotonic() < end:
            with self._lock:
                if not self._ended:
                    self._called = False
                    return False
                job = self._ended.popleft()
            job.fire()
        return True


class Workers:
    """
    Some threads for one kind of work, started when there is some.

    :param name: what the threads are called.
    :param count: how many there are at most.
    :param run: does a batch of jobs, in a thread: each succeeds, fails or is cancelled.
        It never raises.
    :param batch: how many jobs it may get at once.
    :param outbox: where they go afterwards; has :meth:`Outbox.deliver`.
    :param rest: called in the thread after each batch has been delivered. It never raises.
    """

    def __init__(
        self,
        name: str,
        count: int,
        run: Callable[[Sequence[Job[Any]]], None],
        outbox: Outbox | Relay,
        batch: int = 1,
        rest: Callable[[], None] = lambda: None,
    ) -> None:
        self._name = name
        self._count = count
        self._run = run
        self._outbox = outbox
        self._batch = batch
        self._rest = rest
        self._queue: SimpleQueue[Job[Any] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._closed = False

    def submit(
        self, work: Callable[[Any], T], undo: Callable[[T | None], object] | None = None
    ) -> Deferred[T]:
        """
        Have some work done; called in the reactor's thread.

        :param undo: called in the reactor's thread when work that was cancelled has ended:
            with its result if it was too late to take it back, else with None.
        :return: fires with what the work returns, or fails with what it raises, or with
            ``ClosedError``. Cancelling it keeps the work from beginning.
        """
        return self.begin(Job(work, undo))

    def begin(self, job: Job[T]) -> Deferred[T]:
        """
        Have a job done; called in the reactor's thread.

        :return: as :meth:`submit` does.
        """
        if self._closed:
            job.deferred.errback(ClosedError("the store is closed"))
        else:
            self.be_ready()
            self._queue.put(job)
        return job.deferred

    def take_over(self, job: Job[Any]) -> None:
        """
        Have the next step of a job done; called in a thread.

        :meth:`be_ready` has been called before, and :meth:`join` is called after the last one.
        """
        self._queue.put(job)

    def be_ready(self) -> None:
        """See to it that a thread is there; called in the reactor's thread."""
        if len(self._threads) < self._count and not self._closed:
            self._start()

    def _start(self) -> None:
        # A daemon: an application that forgets to close may end all the same.
        name = f"blobman-{self._name}-{len(self._threads)}"
        thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            batch = [job]
            more = self._take_more(batch)
            self._do(batch)
            del job, batch
            if not more:
                return

    def _take_more(self, batch: list[Job[Any]]) -> bool:
        """Add what waits to a batch; tell whether the thread is to go on after it."""
        while len(batch) < self._batch:
            try:
                job = self._queue.get_nowait()
            except Empty:
                return True
            if job is None:
                return False
            batch.append(job)
        return True

    def _do(self, batch: list[Job[Any]]) -> None:
        if self._closed:
            for job in batch:
                job.fail(ClosedError("the store was closed"))
        else:
            self._run([job for job in batch if not job.cancelled])
        self._outbox.deliver(batch)
        self._rest()

    def close(self) -> None:
        """Take no more work; what has not begun fails with ``ClosedError``."""
        self._closed = True
        for _ in self._threads:
            self._queue.put(None)

    def join(self) -> None:
        """Wait until the threads have ended; called in another thread, after :meth:`close`."""
        for thread in self._threads:
            thread.join()
        while not self._queue.empty():
            # What was taken over too late for the threads.
            job = self._queue.get()
            if job is not None:
                self._do([job])


class Relay:
    """Where jobs go after a step: to the workers of the next one, or with the others that ended."""

    def __init__(self, workers: Workers, outbox: Outbox) -> None:
        self._workers = workers
        self._outbox = outbox

    def deliver(self, jobs: Sequence[Job[Any]]) -> None:
        """Pass these on; called in a thread."""
        ended = []
        for job in jobs:
            if job.is_ready_for_more():
                self._workers.take_over(job)
            else:
                ended.append(job)
        if ended:
            self._outbox.deliver(ended)
