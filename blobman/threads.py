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
from queue import Empty, SimpleQueue
from typing import Any, Generic, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure

from .errors import ClosedError

__all__ = ["IDLE", "Delivery", "Outbox", "Work", "Workers"]

T = TypeVar("T")
W = TypeVar("W", bound="Work[Any]")
W_in = TypeVar("W_in", bound="Work[Any]", contravariant=True)

TURN = 0.003
"""Seconds for which Deferreds fire before the reactor gets a turn for other things."""

IDLE = 0.1
"""Seconds without work after which a thread has time for what is not urgent."""


class Work(Generic[T]):
    """
    A piece of work on its way through a thread.

    Cancelling its Deferred keeps it from being done, if it has not begun. If it has, the Deferred
    fails at once, and nobody is told how it ends.

    :param call: what is to be done; who runs it knows with what it is called.
    :param release: called in the reactor's thread with a result that nobody waits for any more.
    :ivar kind: what it can be done together with; None if it is only done by itself.
    :ivar is_cancelled: nobody wants it any more.
    :ivar deferred: tells how it went; gone afterwards.
    """

    __slots__ = ("_failure", "_release", "_result", "call", "deferred", "is_cancelled")

    kind: Any = None

    def __init__(self, call: Any, release: Callable[[T], object] | None = None) -> None:
        self.call = call
        self.is_cancelled = False
        self.deferred: Deferred[T] = Deferred(self._cancel)
        self._release = release
        self._result: T | None = None
        self._failure: Failure | None = None

    def _cancel(self, _: Deferred[T]) -> None:
        self.is_cancelled = True

    def succeed(self, result: T) -> None:
        """Keep the result; in the thread."""
        self._result, self._failure = result, None

    def fail(self, error: BaseException) -> None:
        """Keep the failure; in the thread."""
        self._failure = Failure(error)

    def attempt(self, call: Callable[[], T]) -> None:
        """Call, and keep how that went; in the thread."""
        try:
            self.succeed(call())
        except BaseException as error:
            self.fail(error)

    def tell(self) -> None:
        """Tell how it went; in the reactor's thread."""
        deferred = self.deferred
        # What these hold should not wait for the garbage collector.
        del self.deferred, self.call
        if self.is_cancelled:
            self._end_cancelled()
        elif self._failure is not None:
            deferred.errback(self._failure)
        else:
            deferred.callback(self._result)  # type: ignore[arg-type]

    def _end_cancelled(self) -> None:
        if self._failure is None and self._result is not None and self._release is not None:
            self._release(self._result)


class Delivery(Protocol[W_in]):
    """Where work goes when a thread is done with it."""

    def deliver(self, works: Sequence[W_in]) -> None:
        """Pass it on; called in a thread."""


class Outbox:
    """Carries what has ended from the threads to the reactor."""

    def __init__(self, reactor: IReactorFromThreads) -> None:
        self._reactor = reactor
        self._lock = threading.Lock()
        self._ended: deque[Work[Any]] = deque()
        self._is_called = False

    def deliver(self, works: Sequence[Work[Any]]) -> None:
        """Have these told in the reactor's thread, soon; called in a thread."""
        with self._lock:
            self._ended.extend(works)
            is_called, self._is_called = self._is_called, True
        if not is_called:
            self._reactor.callFromThread(self._turn)

    def _turn(self) -> None:
        if self.fire(TURN):
            # Not by a clock, which need not be the reactor's own.
            self._reactor.callFromThread(self._turn)

    def fire(self, limit: float = math.inf) -> bool:
        """
        Tell of what has ended; in the reactor's thread.

        :param limit: the seconds after which it stops, though not before one has been told.
        :return: whether there may be more.
        """
        end = time.monotonic() + limit
        while True:
            with self._lock:
                if not self._ended:
                    self._is_called = False
                    return False
                work = self._ended.popleft()
            work.tell()
            if time.monotonic() >= end:
                return True


class Workers(Generic[W]):
    """
    Some threads for one sort of work.

    :param name: what the threads are called.
    :param count: how many there are.
    :param run: does some pieces of work, in a thread: each succeeds or fails. It never raises.
    :param outbox: where they go afterwards.
    :param most: how many it may get at once.
    :param mixed: whether these may be of any kind; otherwise they are all of one.
    :param rest: called in the thread after each batch has been delivered; and with true when
        nothing more has come for a while. It never raises.
    :param idle: for how many seconds that is.
    """

    def __init__(
        self,
        name: str,
        count: int,
        run: Callable[[Sequence[W]], None],
        outbox: Delivery[W],
        most: int = 1,
        mixed: bool = False,
        rest: Callable[[bool], object] | None = None,
        idle: float = IDLE,
    ) -> None:
        self._name = name
        self._count = count
        self._run = run
        self._outbox = outbox
        self._most = most
        self._mixed = mixed
        self._rest = rest
        self._idle = idle
        self._queue: SimpleQueue[W | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._is_closed = False

    def begin(self, work: W) -> Deferred[Any]:
        """
        Have something done; called in the reactor's thread.

        :return: its Deferred: fires with its result, or fails with what it raises, or with
            ``ClosedError``.
        """
        deferred = work.deferred
        if self._is_closed:
            deferred.errback(ClosedError("the store is closed"))
        else:
            self._queue.put(work)
        return deferred

    def take_over(self, work: W) -> None:
        """
        Have the next step of something done; called in a thread.

        :meth:`join` is called after the last one.
        """
        self._queue.put(work)

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

    def close(self) -> None:
        """Take no more work; what has not begun fails with ``ClosedError``."""
        self._is_closed = True
        for _ in self._threads:
            self._queue.put(None)

    def join(self) -> None:
        """Wait until the threads have ended; called in another thread, after :meth:`close`."""
        for thread in self._threads:
            thread.join()
        while not self._queue.empty():
            # What was taken over too late for the threads.
            work = self._queue.get()
            if work is not None:
                self._do([work])

    # -- in the threads ------------------------------------------------------------------

    def _work(self) -> None:
        while (work := self._get()) is not None:
            batch = [work, *self._take_more(work)]
            self._do(batch)
            if self._rest is not None:
                self._rest(False)
            del work, batch

    def _get(self) -> W | None:
        if self._rest is not None:
            try:
                return self._queue.get(timeout=self._idle)
            except Empty:
                self._rest(True)
        return self._queue.get()

    def _take_more(self, first: W) -> Iterator[W]:
        """Take what waits and may be done with it, and leave the rest to whoever comes next."""
        if first.kind is None and not self._mixed:
            return
        for _ in range(1, self._most):
            try:
                work = self._queue.get_nowait()
            except Empty:
                return
            if work is None or not (self._mixed or first.kind == work.kind):
                self._queue.put(work)
                return
            yield work

    def _do(self, batch: list[W]) -> None:
        if self._is_closed:
            for work in batch:
                work.fail(ClosedError("the store was closed"))
        else:
            self._run([work for work in batch if not work.is_cancelled])
        self._outbox.deliver(batch)
