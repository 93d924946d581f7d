"""Who waits for changes, and is woken when some have been committed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, KeysView

from twisted.internet.defer import Deferred
from zope.interface import Interface, implementer

Place = tuple[str, str]
"""A user, and a namespace by the name that it has on the server."""


class IWaking(Interface):
    """Tells that something has changed, wherever the change was committed."""

    def wait(user: str, namespace: str) -> Deferred[None]:
        """
        Wait for a change. Call it before you look whether there is one: then none is missed.

        :return: fires, in the reactor's thread, when something may have changed in that namespace
            since the call, and when nothing more is told. Cancel it if it is not wanted.
        """


@implementer(IWaking)
class Waiters:
    """
    Wakes those that wait in this process.

    :param call: calls in the reactor's thread.
    """

    def __init__(self, call: Callable[..., object]) -> None:
        self._call = call
        self._waiting: dict[Place, set[Deferred[None]]] = {}

    @property
    def number(self) -> int:
        """How many wait."""
        return sum(map(len, self._waiting.values()))

    @property
    def places(self) -> KeysView[Place]:
        """Where they wait."""
        return self._waiting.keys()

    def wait(self, user: str, namespace: str) -> Deferred[None]:
        """Wait for a change; see :class:`IWaking`."""
        place = user, namespace
        waiting: Deferred[None] = Deferred(lambda it: self._forget(place, it))
        self._waiting.setdefault(place, set()).add(waiting)
        return waiting

    def _forget(self, place: Place, waiting: Deferred[None]) -> None:
        # While they are woken, none is in there any more.
        others = self._waiting.get(place, set())
        others.discard(waiting)
        if not others:
            self._waiting.pop(place, None)

    def announce(self, places: Iterable[Place]) -> None:
        """Wake who waits for these, which have been committed to; from any thread."""
        # Whoever is not in there yet looks for changes later, and finds these.
        if woken := [place for place in places if place in self._waiting]:
            self._call(self._wake, woken)

    def wake_all(self) -> None:
        """Wake everybody; in the reactor's thread."""
        self._wake([*self._waiting])

    def _wake(self, places: Iterable[Place]) -> None:
        for place in places:
            for waiting in self._waiting.pop(place, ()):
                # One that was woken before may have cancelled it.
                if not waiting.called:
                    waiting.callback(None)
