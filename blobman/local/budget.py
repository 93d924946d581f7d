"""How much may wait in memory at once."""

from __future__ import annotations

from collections import OrderedDict

from twisted.internet.defer import Deferred, succeed

__all__ = ["ByteBudget"]


class ByteBudget:
    """
    Lets so many bytes in, and has the rest wait, first come first served.

    :param limit: the bytes; one that is larger gets in when it is alone.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._waiting: OrderedDict[Deferred[None], int] = OrderedDict()

    def take(self, size: int) -> bool:
        """Take bytes if they are there and nobody waits; tell whether they were."""
        if self._waiting or not self._fits(size):
            return False
        self._used += size
        return True

    def acquire(self, size: int) -> Deferred[None]:
        """
        Ask for some bytes.

        :return: fires when they are there; give them back with :meth:`release`. Cancelling it
            ends the waiting, and nothing is to be given back.
        """
        if self.take(size):
            return succeed(None)
        waiting: Deferred[None] = Deferred(self._leave)
        self._waiting[waiting] = size
        return waiting

    def _fits(self, size: int) -> bool:
        return self._used == 0 or self._used + size <= self._limit

    def _leave(self, waiting: Deferred[None]) -> None:
        # Those behind it may fit now.
        self._waiting.pop(waiting, None)
        self._admit()

    def release(self, size: int) -> None:
        """Give bytes back."""
        self._used -= size
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self._fits(next(iter(self._waiting.values()))):
            waiting, size = self._waiting.popitem(last=False)
            self._used += size
            waiting.callback(None)
