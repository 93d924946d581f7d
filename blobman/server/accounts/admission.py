"""What one user can have under way at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Hold = Callable[[int], None]


class TooMuchAtOnceError(Exception):
    """A user has so much under way that more has to wait; the text says of what."""


class Admission:
    """
    Counts the requests of each user that are under way, and what is held in memory for them.

    :param most: how many requests.
    :param lists: how many bytes of lists.
    """

    def __init__(self, most: int, lists: int) -> None:
        self._most = most
        self._most_held = lists
        self._counts: Counter[str] = Counter()
        self._held: Counter[str] = Counter()

    @contextmanager
    def entered(self, user: str) -> Iterator[None]:
        """
        Count one more during the block.

        :raise TooMuchAtOnceError: there are too many.
        """
        if self._counts[user] >= self._most:
            raise TooMuchAtOnceError("too many requests at once")
        self._counts[user] += 1
        try:
            yield
        finally:
            _take(self._counts, user, 1)

    @contextmanager
    def left(self, user: str) -> Iterator[None]:
        """Do not count a request, which has been counted, during the block."""
        _take(self._counts, user, 1)
        try:
            yield
        finally:
            self._counts[user] += 1

    @contextmanager
    def holding(self, user: str) -> Iterator[Hold]:
        """
        Count, during the block, the bytes of lists that it holds.

        :return: is called with each number of bytes; raises :class:`TooMuchAtOnceError` if they are
            too many.
        """
        held = 0

        def hold(size: int) -> None:
            nonlocal held
            # One list alone may be as long as it is.
            if self._held[user] > held and self._held[user] + size > self._most_held:
                raise TooMuchAtOnceError("too many long lists at once")
            self._held[user] += size
            held += size

        try:
            yield hold
        finally:
            _take(self._held, user, held)


def _take(counts: Counter[str], user: str, number: int) -> None:
    counts[user] -= number
    if not counts[user]:
        del counts[user]
