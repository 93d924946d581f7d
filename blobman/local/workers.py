"""
Jobs of a store: work in threads that is undone if it was cancelled too late, done together with
others of its kind, or handed from one sort of thread to another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ..threads import Outbox, Work, Workers

__all__ = ["Job", "Kind", "Relay", "TwoSteps", "run_together"]

T = TypeVar("T")

Kind = Callable[[Any, Sequence[Any]], Sequence[T]]
"""
Does work of a kind for many at once, in a thread.

It is called with what the worker works with and with an item for each, and gives a result for each.
"""


class Job(Work[T]):
    """
    A piece of work, which is called with what the worker works with.

    Who cancels it is told when no thread is at it any more, and what it has done is undone.

    :param undo: called in the reactor's thread when work that was cancelled has ended: with its
        result if it was too late to take it back, else with None. It may give a Deferred that fires
        when that is done.
    :param uses_reserve: whether it is to be done on a full disk, too.
    :ivar kind: does it together with others of its kind; None if it is only done by itself.
    :ivar item: what ``kind`` is to be given for it.
    """

    __slots__ = ("_over", "_undo", "item", "kind", "uses_reserve")

    def __init__(
        self,
        call: Callable[[Any], T],
        undo: Callable[[T | None], object] | None,
        uses_reserve: bool = False,
    ) -> None:
        super().__init__(call)
        self.uses_reserve = uses_reserve
        self.kind: Kind[T] | None = None
        self.item: Any = None
        self.deferred.addErrback(self._once_over)
        self._over: Deferred[None] | None = None
        self._undo = undo

    @classmethod
    def of_kind(cls, kind: Kind[T], item: Any, undo: Callable[[T | None], object] | None) -> Job[T]:
        """Make a job that can be done together with others of its kind."""
        job = Job(partial(_do_alone, kind, item), undo)
        job.kind, job.item = kind, item
        return job

    def is_ready_for_more(self) -> bool:
        """Whether a step is done and another one is left, which :attr:`call` is now."""
        return False

    def _once_over(self, failure: Failure) -> Any:
        if not self.is_cancelled:
            return failure
        over = self._over = Deferred()
        return over.addCallback(lambda _: failure)

    def tell(self) -> None:
        """Tell how it went; in the reactor's thread."""
        self.item = None
        super().tell()

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

    :param first: called as that of a :class:`Job` is.
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
        if second is None or self._failure is not None or self.is_cancelled:
            return False
        self.call = partial(_do_alone, second, given)
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
                job.succeed(job.call(what))
        else:
            group = list(same)
            results = kind(what, [job.item for job in group])
            for job, result in zip(group, results, strict=True):
                job.succeed(result)


class Relay:
    """Where jobs go after a step: to the workers of the next one, or with the others that ended."""

    def __init__(self, workers: Workers[Job[Any]], outbox: Outbox) -> None:
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
