"""
Work that blocks, done in threads; and a Deferred for each piece of it.

:class:`Threads` does as many pieces at once as it is allowed to hand over together, and brings
their results back to the reactor together. :class:`Inline` does each one at once, for what never
blocks.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from queue import Empty, SimpleQueue
from typing import Any, Generic, Protocol, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from ...errors import ClosedError

T = TypeVar("T")

TURN = 0.003
"""Seconds for which results are told before the reactor gets a turn for other things."""

IDLE = 5.0
"""Seconds without work after which a thread has time for what is not urgent."""


class Work(Generic[T]):
    """
    A piece of work.

    :param call: what is to be done.
    :param release: called in the reactor's thread with a result that nobody waits for any more.
    :ivar is_cancelled: nobody wants it; if it has not begun, it is left out.
    """

    __slots__ = ("_failure", "_release", "_result", "call", "deferred", "is_cancelled")

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
        """Fire the Deferred; in the reactor's thread."""
        if self.is_cancelled:
            if self._failure is None and self._result is not None and self._release:
                self._release(self._result)
        elif self._failure is not None:
            self.deferred.errback(self._failure)
        else:
            self.deferred.callback(self._result)  # type: ignore[arg-type]


Run = Callable[[Sequence[Work[Any]]], None]
"""Does pieces of work, each of which succeeds or fails. It never raises."""


class Worker(Protocol):
    """What does work."""

    def begin(
        self, call: Callable[..., T], release: Callable[[T], object] | None = None
    ) -> Deferred[T]:
        """
        Have something done.

        :param release: called with the result if the Deferred is cancelled meanwhile.
        :return: fires with what it returns, or fails with what it raises or ``ClosedError``.
        """
        ...

    def close(self) -> Deferred[None]:
        """
        Take no more; what has not begun fails with ``ClosedError``.

        :return: fires when all has ended. May be called twice.
        """
        ...


class Ending:
    """
    An end that is reached once. Whoever asks for it again waits for the same.

    :param end: does what has to be done.
    """

    def __init__(self, end: Callable[[], Coroutine[Deferred[Any], Any, None]]) -> None:
        self._end = end
        self._is_over = False
        self._waiting: list[Deferred[None]] = []

    def reach(self) -> Deferred[None]:
        """
        End.

        :return: fires when that is done; fails as ``end`` does.
        """
        done: Deferred[None] = Deferred()
        if self._is_over:
            done.callback(None)
            return done
        self._waiting.append(done)
        if len(self._waiting) == 1:
            Deferred.fromCoroutine(self._end()).addBoth(self._reached)
        return done

    def _reached(self, result: None) -> None:
        self._is_over = True
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            done.callback(result)


def run_each(works: Sequence[Work[Any]]) -> None:
    """Do pieces of work one after another."""
    for work in works:
        work.attempt(work.call)


class Closed:
    """Does no work: what is to do it has not been opened."""

    def begin(
        self, call: Callable[..., T], release: Callable[[T], object] | None = None
    ) -> Deferred[T]:
        """Fail; see :class:`Worker`."""
        return fail(ClosedError("the storage is not open"))

    def close(self) -> Deferred[None]:
        """Do nothing; see :class:`Worker`."""
        return succeed(None)


class Inline:
    """Does work at once, in the thread that asks."""

    def __init__(self, run: Run = run_each) -> None:
        self._run = run
        self._is_closed = False

    def begin(
        self, call: Callable[..., T], release: Callable[[T], object] | None = None
    ) -> Deferred[T]:
        """Do it; see :class:`Worker`."""
        if self._is_closed:
            return fail(ClosedError("the storage is closed"))
        work = Work(call, release)
        self._run([work])
        work.tell()
        return work.deferred

    def close(self) -> Deferred[None]:
        """Take no more; see :class:`Worker`."""
        self._is_closed = True
        return succeed(None)


class Threads:
    """
    Threads that share a queue of work.

    :param reactor: where Deferreds fire.
    :param name: what the threads are called.
    :param count: how many there are.
    :param run: is given some pieces of work, in a thread.
    :param most: how many pieces at once.
    :param rest: called in a thread when nothing has come for a while since the last work.
    """

    def __init__(
        self,
        reactor: Any,
        name: str,
        count: int,
        run: Run = run_each,
        most: int = 1,
        rest: Callable[[], object] | None = None,
    ) -> None:
        self._reactor = reactor
        self._run = run
        self._most = most
        self._rest = rest
        self._queue: SimpleQueue[Work[Any] | None] = SimpleQueue()
        self._is_closed = False
        self._running = count
        self._lock = threading.Lock()
        self._waiting: list[Deferred[None]] = []
        for number in range(count):
            # A daemon: a program that forgets to close can end all the same.
            name_of_it = f"blobman-{name}-{number}"
            threading.Thread(target=self._work, name=name_of_it, daemon=True).start()

    def begin(
        self, call: Callable[..., T], release: Callable[[T], object] | None = None
    ) -> Deferred[T]:
        """Have it done in a thread; see :class:`Worker`."""
        if self._is_closed:
            return fail(ClosedError("the storage is closed"))
        work = Work(call, release)
        self._queue.put(work)
        return work.deferred

    def close(self) -> Deferred[None]:
        """End the threads; see :class:`Worker`."""
        if not self._is_closed:
            self._is_closed = True
            for _ in range(self._running):
                self._queue.put(None)
        done: Deferred[None] = Deferred()
        if self._running:
            self._waiting.append(done)
        else:
            done.callback(None)
        return done

    # -- in the threads ----------------------------------------------------------------

    def _work(self) -> None:
        has_rested = True
        while (works := self._take(has_rested)) is not None:
            has_rested = not works
            if not works:
                if self._rest is not None:
                    self._rest()
                continue
            if self._is_closed:
                for work in works:
                    work.fail(ClosedError("the storage was closed"))
            else:
                self._run([work for work in works if not work.is_cancelled])
            self._reactor.callFromThread(self._tell, works)
        self._reactor.callFromThread(self._ended)

    def _take(self, has_rested: bool) -> list[Work[Any]] | None:
        """Wait for work, and take what there is. Give nothing when it is time to rest."""
        try:
            first = self._queue.get(timeout=None if self._rest is None or has_rested else IDLE)
        except Empty:
            return []
        if first is None:
            return None
        works = [first]
        while len(works) < self._most and not self._queue.empty():
            more = self._queue.get()
            if more is None:
                self._queue.put(None)
                break
            works.append(more)
        return works

    # -- in the reactor's thread ---------------------------------------------------------

    def _tell(self, works: list[Work[Any]]) -> None:
        end = time.monotonic() + TURN
        for number, work in enumerate(works, 1):
            work.tell()
            if number < len(works) and time.monotonic() > end:
                self._reactor.callFromThread(self._tell, works[number:])
                return

    def _ended(self) -> None:
        self._running -= 1
        if not self._running:
            waiting, self._waiting = self._waiting, []
            for done in waiting:
                done.callback(None)
