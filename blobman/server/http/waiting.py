"""Requests that wait until something has changed."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime


class Waiting:
    """
    Has requests wait.

    When one more comes than may wait, the oldest waits no more.

    :param clock: says how long.
    :param most: how many of one user wait at once.
    :param most_of_all: how many of all users wait at once.
    """

    def __init__(self, clock: IReactorTime, most: int, most_of_all: int) -> None:
        self._clock = clock
        self._most = most
        self._most_of_all = most_of_all
        # The oldest first: of each user, and of all.
        self._of_user: dict[str, dict[Deferred[None], None]] = {}
        self._of_all: dict[Deferred[None], None] = {}
        self._is_over = False

    @property
    def number(self) -> int:
        """How many wait."""
        return len(self._of_all)

    @property
    def is_full(self) -> bool:
        """Whether as many wait as may, of all users."""
        return self.number >= self._most_of_all

    def begin(self) -> None:
        """Let requests wait, as they may from the beginning."""
        self._is_over = False

    def end(self) -> None:
        """Let all go on at once, and others that come."""
        self._is_over = True
        for changed in [*self._of_all]:
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
        timeout = self._clock.callLater(seconds, changed.cancel)
        self._add(user, changed)
        try:
            await changed
        except CancelledError:
            return False
        finally:
            if timeout.active():
                timeout.cancel()
            self._remove(user, changed)
        return True

    def _add(self, user: str, changed: Deferred[None]) -> None:
        others = self._of_user.setdefault(user, {})
        others[changed] = self._of_all[changed] = None
        if len(others) > self._most:
            next(iter(others)).cancel()
        if self.number > self._most_of_all:
            next(iter(self._of_all)).cancel()

    def _remove(self, user: str, changed: Deferred[None]) -> None:
        others = self._of_user[user]
        del others[changed], self._of_all[changed]
        if not others:
            del self._of_user[user]
