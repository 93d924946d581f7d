"""Everything that is under way in a manager, so that closing can end it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from contextlib import AbstractContextManager
from typing import Any, TypeAlias, TypeVar

from twisted.internet.defer import Deferred, DeferredList, FirstError, ensureDeferred, fail
from twisted.python.failure import Failure

from ..errors import ClosedError
from .signals import Signal

T = TypeVar("T")
Item = TypeVar("Item")


Work: TypeAlias = "Callable[[], Deferred[T] | Coroutine[Deferred[Any], Any, T]]"
"""Begins something. A Deferred that it returns is not chained to another while it lasts."""


class Operations:
    """
    The operations that are under way.

    :ivar closed: whether no more may begin.
    :ivar failed: says that one has failed, or was cancelled: it may have left something undone.
    """

    def __init__(self) -> None:
        self.closed = False
        self.failed: Signal[[]] = Signal()
        self._under_way: dict[Deferred[Any], None] = {}
        self._watchers: dict[Deferred[Any], Deferred[None]] = {}

    def begin(self, work: Work[T]) -> Deferred[T]:
        """
        Begin an operation.

        :param work: begins it.
        :return: fires or fails as the work does; fails with ``ClosedError`` if no more may begin.
            Cancelling it cancels the work.
        """
        if self.closed:
            return fail(ClosedError("the manager is closed"))
        try:
            operation = ensureDeferred(work())
        except Exception:
            return fail()
        if not operation.called:
            self._under_way[operation] = None
            operation.addBoth(self._ended, operation)
        return operation

    def _ended(self, result: Any, operation: Deferred[Any]) -> Any:
        # Before anything that the application has added behind: that may wait for the end, too.
        self._under_way.pop(operation, None)
        watcher = self._watchers.pop(operation, None)
        if watcher is not None:
            watcher.callback(None)
        if isinstance(result, Failure):
            self.failed()
        return result

    async def close(self) -> None:
        """Let no more begin, cancel what is under way, and wait until all of it has ended."""
        self.closed = True
        ended = []
        for operation in list(self._under_way):
            end = self._watchers[operation] = Deferred()
            ended.append(end)
            # One that has been cancelled is putting things back as they were: it is let be.
            if not operation.called:
                operation.cancel()
        await DeferredList(ended)


async def in_parallel(
    limit: int, items: Iterable[Item], work: Callable[[Item], Deferred[Any]]
) -> None:
    """
    Do the same for many items, some at a time.

    :param limit: how many at a time.
    :raise BaseException: the first failure; the others are cancelled, and have ended.
    """
    remaining = iter(items)

    async def lane() -> None:
        for item in remaining:
            await work(item)

    lanes = [Deferred.fromCoroutine(lane()) for _ in range(max(1, limit))]
    together = DeferredList(lanes, fireOnOneErrback=True, consumeErrors=True)
    try:
        await together
    except FirstError as error:
        error.subFailure.raiseException()
    finally:
        for one in lanes:
            one.cancel()
        await DeferredList(lanes)


async def together(
    works: Iterable[Coroutine[Deferred[Any], Any, T]],
    hold_back: Callable[[], AbstractContextManager[None]],
) -> list[T]:
    """
    Do some things at the same time.

    :param hold_back: gives a context in which none of them begins anything: that in which they are
        cancelled.
    :return: their results.
    :raise BaseException: the first failure; the others are cancelled, and have ended.
    """
    running = [Deferred.fromCoroutine(work) for work in works]
    all_of_them = DeferredList(running, fireOnOneErrback=True, consumeErrors=True)
    try:
        results = await follow(all_of_them)
    except FirstError as error:
        error.subFailure.raiseException()
    finally:
        all_of_them.addErrback(lambda _: None)
        with hold_back():
            for one in running:
                one.cancel()
        await DeferredList(running)
    return [result for _, result in results]


def follow(deferred: Deferred[T]) -> Deferred[T]:
    """Make a Deferred that ends as another does, and can't cancel it."""
    follower: Deferred[T] = Deferred()

    def ended(result: Any) -> Any:
        if not follower.called:
            follower.callback(result)
        return result

    deferred.addBoth(ended)
    return follower
