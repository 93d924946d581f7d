"""
Threads that work off a queue, and Deferreds that tell how it went.

Results go back to the reactor together: one wake-up for all that ended meanwhile.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure

from ..errors import ClosedError

__all__ = ["Job", "Kind", "Outbox", "Relay", "TwoSteps", "Workers", "run_together"]

T = TypeVar("T")

Kind = Callable[[Any, Sequence[Any]], Sequence[T]]
"""
Does work of a kind for many at once, in a thread.

It is called with what the worker works with and with an item for each, and gives a result for each.
"""

_TURN = 0.003
"""Seconds for which Deferreds fire before the reactor gets a turn for other things."""


_A_WHILE = 0.1
"""Seconds without work after which a thread has time for what is not urgent."""


class Job(Generic[T]):
    """
    A piece of work on its way through a thread.

    Who cancels it is told when no thread is at it any more, and what it has done is undone.

    :param undo: called in the reactor's thread when work that was cancelled has ended: with its
        result if it was too late to take it back, else with None. It may give a Deferred that fires
        when that is done.
    :param uses_reserve: whether it is to be done on a full disk, too.
    :ivar work: what is to be done; called in a thread with what the worker works with.
    :ivar kind: does it together with others of its kind; None if it is only done by itself.
    :ivar item: what ``kind`` is to be given for it.
    :ivar cancelled: nobody wants it any more.
    :ivar deferred: tells how it went; gone afterwards.
    """

    __slots__ = (
        "_failure",
        "_over",
        "_result",
        "_undo",
        "cancelled",
        "deferred",
        "item",
        "kind",
        "uses_reserve",
        "work",
    )

    def __init__(
        self,
        work: Callable[[Any], T],
        undo: Callable[[T | None], object] | None,
        uses_reserve: bool = False,
    ) -> None:
        self.work = work
        self.uses_reserve = uses_reserve
        self.kind: Kind[T] | None = None
        self.item: Any = None
        self.cancelled = False
        self.deferred: Deferred[T] = Deferred(self._cancel)
        self.deferred.addErrback(self._once_over)
        self._over: Deferred[None] | None = None
        self._undo = undo
        self._result: T | None = None
        self._failure: Failure | None = None

    @classmethod
    def of_kind(cls, kind: Kind[T], item: Any, undo: Callable[[T | None], object] | None) -> Job[T]:
        """Make a job that can be done together with others of its kind."""
        job = Job(partial(_do_alone, kind, item), undo)
        job.kind, job.item = kind, item
        return job

    def is_ready_for_more(self) -> bool:
        """Whether a step is done and another one is left, which :attr:`work` is now."""
        return False

    def _cancel(self, _: Deferred[T]) -> None:
        # Safe at any time: a worker skips it, or takes its work back, or `fire` undoes it.
        self.cancelled = True

    def _once_over(self, failure: Failure) -> Any:
        if not self.cancelled:
            return failure
        over = self._over = Deferred()
        return over.addCallback(lambda _: failure)

    def succeed(self, result: T) -> None:
        """Keep the result; in the thread."""
        self._result, self._failure = result, None

    def fail(self, error: BaseException) -> None:
        """Keep the failure; in the thread."""
        self._failure = Failure(error)

    def fire(self) -> None:
        """Tell how it went; in the reactor's thread."""
        deferred = self.deferred
        # What these hold should not wait for the garbage collector.
        del self.deferred, self.work, self.item
        if self.cancelled:
            self._end_cancelled()
        elif self._failure is not None:
            deferred.errback(self._failure)
        else:
            deferred.callback(self._result)  # type: ignore[arg-type]

    def _end_cancelled(self) -> None:
        over, self._over = self._over, None
        undone = None
        if self._undo is not None:
            undone = self._undo(None if self._failure is not None else self._result)
        if isinstance(undone, Deferred):
            undone.addBoth(self._tell_end, over)
        else:
            self._tell_end(None, over)

    @staticmethod
    def _tell_end(_: object, over: Deferred[None] | None) -> None:
        # Who has cancelled it twice has not waited.
        if over is not None and not over.called:
            over.callback(None)


class TwoSteps(Job[T]):
    """
    A piece of work for one sort of thread, then another with what it gave for another sort.

    :param first: called as :attr:`work` is.
    :param second: called in the other thread; what ``first`` returned is the item.
    """

    __slots__ = ("_second",)

    def __init__(
        self,
        first: Callable[[Any], Any],
        second: Kind[T],
        undo: Callable[[T | None], object] | None,
    ) -> None:
        super().__init__(first, undo)
        self._second: Kind[T] | None = second

    def is_ready_for_more(self) -> bool:
        """Whether the first step is done, and nothing is in the way of the second."""
        second, self._second = self._second, None
        given, self._result = self._result, None
        if second is None or self._failure is not None or self.cancelled:
            return False
        self.work = partial(_do_alone, second, given)
        self.kind, self.item = second, given
        return True


def _do_alone(kind: Kind[T], item: Any, what: Any) -> T:
    (result,) = kind(what, [item])
    return result


def run_together(what: Any, jobs: Sequence[Job[Any]]) -> None:
    """
    Do some jobs in a thread, those of a kind that follow one another together.

    :param what: what the worker works with.
    :raise Exception: what one of them raised; what becomes of the others is not known then.
    """
    for kind, same in groupby(jobs, key=lambda job: job.kind):
        if kind is None:
            for job in same:
                job.succeed(job.work(what))
        else:
            group = list(same)
            results = kind(what, [job.item for job in group])
            for job, result in zip(group, results, strict=True):
                job.succeed(result)


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
            # Not by a clock, which need not be the reactor's own.
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
    Some threads for one kind of work.

    :param name: what the threads are called.
    :param count: how many there are.
    :param run: does a batch of jobs, in a thread: each succeeds, fails or is cancelled.
        It never raises.
    :param batch: how many jobs it may get at once.
    :param mixed: whether these may be of any kind; otherwise they are all of one.
    :param outbox: where they go afterwards; has :meth:`Outbox.deliver`.
    :param rest: called in the thread after each batch has been delivered; and with true when
        nothing more has come for a while. It never raises.
    """

    def __init__(
        self,
        name: str,
        count: int,
        run: Callable[[Sequence[Job[Any]]], None],
        outbox: Outbox | Relay,
        batch: int = 1,
        mixed: bool = False,
        rest: Callable[[bool], None] | None = None,
    ) -> None:
        self._name = name
        self._count = count
        self._run = run
        self._outbox = outbox
        self._batch = batch
        self._mixed = mixed
        self._rest = rest
        self._queue: SimpleQueue[Job[Any] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._closed = False

    def begin(self, job: Job[T]) -> Deferred[T]:
        """
        Have a job done; called in the reactor's thread.

        :return: the job's Deferred: fires with what the work returns, or fails with what it
            raises, or with ``ClosedError``. Cancelling it keeps the work from beginning.
        """
        if self._closed:
            job.deferred.errback(ClosedError("the store is closed"))
        else:
            self._queue.put(job)
        return job.deferred

    def take_over(self, job: Job[Any]) -> None:
        """
        Have the next step of a job done; called in a thread.

        :meth:`join` is called after the last one.
        """
        self._queue.put(job)

    def start(self) -> None:
        """
        Start the threads that are missing; called in the reactor's thread, before there is work.

        Starting one waits for it, and when others are busy, for them.

        :raise RuntimeError: one can't be started.
        """
        while len(self._threads) < self._count:
            # A daemon: an application that forgets to close may end all the same.
            name = f"blobman-{self._name}-{len(self._threads)}"
            thread = threading.Thread(target=self._work, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def _work(self) -> None:
        while (job := self._get()) is not None:
            batch = [job, *self._take_more(job)]
            self._do(batch)
            if self._rest is not None:
                self._rest(False)
            del job, batch

    def _get(self) -> Job[Any] | None:
        if self._rest is not None:
            try:
                return self._queue.get(timeout=_A_WHILE)
            except Empty:
                self._rest(True)
        return self._queue.get()

    def _take_more(self, first: Job[Any]) -> Iterator[Job[Any]]:
        """Take what waits and may be done with a job, and leave the rest to whoever comes next."""
        if first.kind is None and not self._mixed:
            return
        for _ in range(1, self._batch):
            try:
                job = self._queue.get_nowait()
            except Empty:
                return
            if job is None or not (self._mixed or first.kind == job.kind):
                self._queue.put(job)
                return
            yield job

    def _do(self, batch: list[Job[Any]]) -> None:
        if self._closed:
            for job in batch:
                job.fail(ClosedError("the store was closed"))
        else:
            self._run([job for job in batch if not job.cancelled])
        self._outbox.deliver(batch)

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
