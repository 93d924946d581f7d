"""The idle timeout: a trickle keeps an exchange alive, silence ends it."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class IdleTimer:
    """
    Calls back once when nothing has happened for a while.

    :ivar expired: whether it has.
    :ivar stopped: whether it was ended: what it watched over is at its end.
    """

    def __init__(self, clock: IReactorTime, seconds: float, on_expired: Callable[[], object]):
        """
        It runs from now on.

        :param seconds: how long nothing may happen.
        """
        self.expired = False
        self.stopped = False
        self._clock = clock
        self._seconds = seconds
        self._on_expired = on_expired
        self._call: IDelayedCall | None = None
        self.reset()

    def reset(self) -> None:
        """Something happened: start over, also after a pause."""
        if self.stopped:
            return
        if self._call is None:
            self._call = self._clock.callLater(self._seconds, self._expire)
        else:
            self._call.reset(self._seconds)

    def pause(self) -> None:
        """Stop counting until the next reset: what we wait for is on this side."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def stop(self) -> None:
        """End it for good."""
        self.stopped = True
        self.pause()

    def _expire(self) -> None:
        self._call = None
        self.expired = True
        self._on_expired()
