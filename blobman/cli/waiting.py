"""Waiting for many things, and for things that do not stop at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.threads import deferToThreadPool

T = TypeVar("T")
Item = TypeVar("Item")


async def until_ended(deferred: Deferred[T], on_cancel: Callable[[], object] = bool) -> T:
    """
    Wait for the end of what must not be left alone, even when cancelled.

    :param on_cancel: called each time when it would be cancelled.
    :return: or raises, what the Deferred does.
    """
    ends: list[Deferred[T]] = [Deferred()]
    has_ended = False

    def ended(result: Any) -> None:
        nonlocal has_ended
        has_ended = True
        ends[-1].callback(result)

    deferred.addBoth(ended)
    while True:
        try:
            return await ends[-1]
        except CancelledError:  # noqa: PERF203
            if has_ended:
                raise
            ends.append(Deferred())
            on_cancel()


async def in_thread(reactor: Any, function: Callable[[threading.Event], T]) -> T:
    """
    Do in a thread what blocks.

    :param function: is given an event, which is set when it is to stop; it has to look at it
        now and then, and to raise ``CancelledError``.
    """
    stop = threading.Event()
    working = deferToThreadPool(reactor, reactor.getThreadPool(), function, stop)
    return await until_ended(working, stop.set)


async def in_lanes(
    count: int, items: Iterable[Item], work: Callable[[Item], Coroutine[Deferred[Any], Any, None]]
) -> None:
    """
    Do the same for many items, some at a time; the next item is taken when its turn comes.

    :param count: how many at a time.
    :raise BaseException: the first failure, when the others have been cancelled and have ended.
    """
    remaining = iter(items)
    failures: list[BaseException] = []

    async def lane() -> None:
        try:
            for item in remaining:
                await work(item)
        except BaseException as error:
            failures.append(error)
            for other in lanes:
                other.cancel()

    lanes: list[Deferred[None]] = []
    for _ in range(count):
        if failures:
            break
        lanes.append(Deferred.fromCoroutine(lane()))
    await DeferredList(lanes)
    if failures:
        raise failures[0]
