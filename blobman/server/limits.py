"""How much of the server one client can have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from .answers import Refusal


@dataclass(frozen=True)
class Limits:
    """
    What a client can't exceed. Times are in seconds.

    :ivar idle: without a byte from a client, until its connection is closed.
    :ivar headers: from the first byte of a request to the end of its headers.
    :ivar stalled: in which a client has to take the next 256 KiB of an answer.
    :ivar requests: how many requests of one user are served at once; more get 429.
    """

    idle: float = 60.0
    headers: float = 20.0
    stalled: float = 300.0
    requests: int = 100


class Admission:
    """Counts the requests of each user that are under way."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._counts: Counter[str] = Counter()

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
