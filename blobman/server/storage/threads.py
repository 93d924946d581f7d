"""
Workers for what blocks, which give a Deferred for each call.

:class:`Threads` does as many calls at once as it is allowed to hand over together. :class:`Inline`
does each one at once, for what never blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.threads import deferToThreadPool

from ...errors import ClosedError
from ...threads import Outbox, Work, Workers
from .interface import UnavailableError

T = TypeVar("T")

IDLE = 5.0
"""Seconds without work after which a thread has time for what is not urgent."""

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


class Inline:
    """
    Does work at once, in the thread that asks.

    :param run: is given one piece of work.
    :param is_closed: whether it takes none from the beginning.
    """

    def __init__(self, run: Run = run_each, is_closed: bool = False) -> None:
        self._run = run
        self._is_closed = is_closed

    def begin(
        self, call: Callable[..., T], release: Callable[[T], object] | None = None
    ) -> Deferred[T]:
        """Do it; see :class:`Worker`."""
        if self._is_closed:
            return fail(ClosedError("the store is closed"))
        work = Work(call, release)
        done = work.deferred
        self._run([work])
        work.tell()
        return done

    def close(self) -> Deferred[None]:
        """Take no more; see :class:`Worker`."""
        self._is_closed = True
        return succeed(None)


CLOSED = Inline(is_closed=True)
"""Takes no work: what is to do it has not been opened."""


class Threads:
    """
    Threads that share a queue of work.

    :param reactor: where Deferreds fire.
    :param name: what the threads are called.
    :param count: how many there are.
    :param run: is given some pieces of work, in a thread.
    :param most: how many pieces at once.
    :param rest: called in a thread when nothing has come for a while since the last work.
    :raise UnavailableError: the system has no more threads; then none is left.
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
        self._outbox = Outbox(reactor)
        self._workers: Workers[Work[Any]] = Workers(
            name,
            count,
            run,
            self._outbox,
            most,
            mixed=True,
            rest=rest and (lambda is_idle: is_idle and rest()),
            idle=IDLE,
        )
        self._ending = Ending(self._end)
        try:
            self._workers.start()
        except RuntimeError as error:
            self._workers.close()
            raise UnavailableError(f"no thread can be started: {error}") from error

    def begin(
        self, call: Callable[..., T], release: Callable[[T], object] | None = None
    ) -> Deferred[T]:
        """Have it done in a thread; see :class:`Worker`."""
        return self._workers.begin(Work(call, release))

    def close(self) -> Deferred[None]:
        """End the threads; see :class:`Worker`."""
        return self._ending.reach()

    async def _end(self) -> None:
        self._workers.close()
        await deferToThreadPool(self._reactor, self._reactor.getThreadPool(), self._workers.join)
        self._outbox.fire()
