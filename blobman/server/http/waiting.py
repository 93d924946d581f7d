"""Requests that wait until something has changed."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime


class Waiting:
    """
    Has requests wait.

    :param clock: says how long.
    :param most: how many of one user wait at once; when one more comes, the oldest waits no more.
    """

    def __init__(self, clock: IReactorTime, most: int) -> None:
        self._clock = clock
        self._most = most
        # Of each user, the oldest first.
        self._waiting: dict[str, dict[Deferred[None], None]] = {}
        self._is_over = False

    @property
    def number(self) -> int:
        """How many wait."""
        return sum(map(len, self._waiting.values()))

    def begin(self) -> None:
        """Let requests wait, as they may from the beginning."""
        self._is_over = False

    def end(self) -> None:
        """Let all go on at once, and others that come."""
        self._is_over = True
        for waiting in [*self._waiting.values()]:
            for changed in [*waiting]:
                changed.cancel()

    def deadline(self, seconds: float) -> float:
        """Say when so many seconds will have passed."""
        return self._clock.seconds() + seconds

    async def wait(self, user: str, changed: Deferred[None], deadline: float) -> bool:
        """
        Wait for a change.

        :param changed: fires when there is one. Cancelling it ends this, too.
        :return: whether there was one; else it is time to answer.
        """
        seconds = deadline - self._clock.seconds()
        if self._is_over or seconds <= 0:
            return False
        if changed.called:
            return True
        waiting = self._waiting.setdefault(user, {})
        waiting[changed] = None
        timeout = self._clock.callLater(seconds, changed.cancel)
        if len(waiting) > self._most:
            next(iter(waiting)).cancel()
        try:
            await changed
        except CancelledError:
            return False
        finally:
            if timeout.active():
                timeout.cancel()
            del waiting[changed]
            if not waiting:
                del self._waiting[user]
        return True
