"""A limit to the bytes in a second: one budget for all that travels, both ways."""

from __future__ import annotations

from collections import deque

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

BURST = 0.25
"""Seconds: what was not used for longer is lost."""

PORTIONS = 8
"""How many portions a second's budget is cut into, so that taking turns is quick."""


class _Waiter:
    """
    Someone who waits for his turn.

    :ivar mark: how many bytes must have been allowed, in all, when it comes.
    """

    def __init__(self, mark: float, turn: Deferred[None]) -> None:
        self.mark = mark
        self.turn = turn


class Throttle:
    """
    A bucket that fills at a rate; everyone takes from it, in the order in which they come.

    What is taken is taken at once, also when the bucket does not hold that much: whoever does so
    waits until it would have.
    """

    def __init__(self, clock: IReactorTime, rate: float | None = None) -> None:
        """
        The bucket is full.

        :param rate: bytes in a second; None for no limit.
        """
        self._clock = clock
        self._rate = rate
        self._taken = 0.0
        self._allowed = 0.0 if rate is None else rate * BURST
        self._last = clock.seconds()
        self._waiters: deque[_Waiter] = deque()
        self._call: IDelayedCall | None = None

    @property
    def rate(self) -> float | None:
        """Bytes in a second, or None for no limit. A change takes effect at once."""
        return self._rate

    @rate.setter
    def rate(self, rate: float | None) -> None:
        self._fill()
        self._rate = rate
        self._serve()

    @property
    def portion(self) -> int | None:
        """How many bytes should be taken at a time at most; None for any number."""
        return None if self._rate is None else max(1, int(self._rate / PORTIONS))

    def take(self, size: int) -> Deferred[None] | None:
        """
        Take bytes from the bucket.

        :return: None if it held them; else a Deferred that fires when it would have. It can be
            cancelled; the bytes stay taken.
        """
        if self._rate is None:
            return None
        self._fill()
        self._taken += size
        if not self._waiters and self._taken <= self._allowed:
            return None
        turn: Deferred[None] = Deferred(self._leave)
        self._waiters.append(_Waiter(self._taken, turn))
        self._serve()
        return turn

    def _fill(self) -> None:
        now = self._clock.seconds()
        if self._rate is None:
            self._allowed = self._taken
        else:
            filled = self._allowed + self._rate * (now - self._last)
            self._allowed = min(filled, self._taken + self._rate * BURST)
        self._last = now

    def _serve(self) -> None:
        """Let those go whose turn has come, and come back when it is the next one's."""
        self._fill()
        if self._call is not None:
            self._call.cancel()
            self._call = None
        served = []
        while self._waiters and self._missing(self._waiters[0]) <= 0:
            served.append(self._waiters.popleft())
        if self._waiters and self._rate is not None:
            delay = self._missing(self._waiters[0]) / self._rate
            self._call = self._clock.callLater(delay, self._come_back)
        for waiter in served:
            # One may have been cancelled by another whose turn has just come.
            if not waiter.turn.called:
                waiter.turn.callback(None)

    def _missing(self, waiter: _Waiter) -> float:
        # A part of a byte is what rounding leaves of a time that has been waited for.
        return waiter.mark - self._allowed - 0.5

    def _come_back(self) -> None:
        self._call = None
        self._serve()

    def _leave(self, turn: Deferred[None]) -> None:
        # Its Deferred is not called by us any more, and so may fail as cancelled ones do.
        self._waiters = deque(it for it in self._waiters if it.turn is not turn)
        self._serve()
