"""Telling those who want to know."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, ParamSpec

P = ParamSpec("P")


class Signal(Generic[P]):
    """Something that happens now and then. Calling it says that it has."""

    def __init__(self) -> None:
        """Nobody listens."""
        self._listeners: list[Callable[P, object]] = []

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Tell all who listen. They must not raise."""
        for listener in [*self._listeners]:
            listener(*args, **kwargs)

    @property
    def is_heard(self) -> bool:
        """Whether anybody listens."""
        return bool(self._listeners)

    @contextmanager
    def heard_by(self, listener: Callable[P, object]) -> Iterator[None]:
        """Have a function called inside the context, each time."""
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)
