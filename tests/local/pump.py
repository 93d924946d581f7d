"""A reactor that is nothing but its thread: for tests that wait without an event loop."""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorCore, IReactorFromThreads
from twisted.python.failure import Failure
from zope.interface import directlyProvides

__all__ = ["Pump"]

T = TypeVar("T")


class Pump:
    """Runs what threads hand over, while somebody waits."""

    def __init__(self) -> None:
        directlyProvides(self, IReactorFromThreads, IReactorCore)
        self.triggers: list[Callable[[], Deferred[None]]] = []
        self._calls: SimpleQueue[Callable[[], object]] = SimpleQueue()

    def callFromThread(self, callable: Callable[..., Any], *args: Any, **kw: Any) -> None:
        self._calls.put(lambda: callable(*args, **kw))

    def addSystemEventTrigger(
        self, phase: str, event: str, callable: Callable[..., Any], *args: Any
    ) -> Callable[..., Any]:
        assert (phase, event) == ("before", "shutdown")
        self.triggers.append(callable)
        return callable

    def removeSystemEventTrigger(self, trigger: Callable[[], Deferred[None]]) -> None:
        self.triggers.remove(trigger)

    def step(self) -> None:
        """Run the next thing that a thread hands over."""
        self._calls.get(timeout=900)()

    def wait(self, work: Deferred[T]) -> T:
        """Run until it has fired, and give or raise what it fired with."""
        results: list[Any] = []
        work.addBoth(results.append)
        while not results:
            self.step()
        if isinstance(results[0], Failure):
            results[0].raiseException()
        return results[0]  # type: ignore[no-any-return]
