"""How much of the server one client can have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from .answers import Refusal

Hold = Callable[[int], None]


@dataclass(frozen=True)
class Limits:
    """
    What a client can't exceed. Times are in seconds.

    :ivar idle: without a byte from a client, until its connection is closed.
    :ivar headers: from the first byte of a request to the end of its headers.
    :ivar stalled: in which a client has to take the next 256 KiB of an answer.
    :ivar requests: how many requests of one user are served at once; more get 429.
    :ivar connections: how many there are at once, of all listeners; more are closed at once. They
        are fewer if the process may not open that many files.
    :ivar lists: bytes of lists, asked for or answered, that are held for one user at once; more
        get 429.
    """

    idle: float = 60.0
    headers: float = 20.0
    stalled: float = 300.0
    requests: int = 100
    connections: int = 10_000
    lists: int = 32 * 1024 * 1024


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

        :raise Refusal: there are too many (429).
        """
        if self._counts[user] >= self._most:
            raise Refusal(429, "too many requests at once", [("Retry-After", "1")])
        self._counts[user] += 1
        try:
            yield
        finally:
            self._counts[user] -= 1
            if not self._counts[user]:
                del self._counts[user]

    @contextmanager
    def holding(self, user: str) -> Iterator[Hold]:
        """
        Count, during the block, the bytes of lists that it holds.

        :return: is called with each number of bytes; raises ``Refusal`` (429) if they are too many.
        """
        held = 0

        def hold(size: int) -> None:
            nonlocal held
            # One list alone may be as long as it is.
            if self._held[user] > held and self._held[user] + size > self._most_held:
                raise Refusal(429, "too many long lists at once", [("Retry-After", "1")])
            self._held[user] += size
            held += size

        try:
            yield hold
        finally:
            self._held[user] -= held
            if not self._held[user]:
                del self._held[user]
