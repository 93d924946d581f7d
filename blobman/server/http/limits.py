"""How much of the server one client can have."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Limits:
    """
    What a client can't exceed. Times are in seconds.

    :ivar idle: without a byte from a client, until its connection is closed. The time that it is
        kept waiting by the server does not count.
    :ivar headers: from the first byte of a request to the end of its headers.
    :ivar stalled: in which a client has to take the next 256 KiB of an answer, or of answers that
        it did not wait for.
    :ivar requests: how many requests of one user are served at once; more get 429.
    :ivar waiting: how many requests of one user wait for changes at once, without being counted
        among those that are served. When one more comes, the oldest is answered.
    :ivar connections: how many there are at once, of all listeners; more are closed at once. They
        are fewer if the process may not open that many files. One in ten is kept free of requests
        that wait for changes.
    :ivar lists: bytes of lists, asked for or answered, that are held for one user at once; more
        get 429.
    :raise TypeError: a limit is not a number.
    :raise ValueError: a limit is not above 0.
    """

    idle: float = 60.0
    headers: float = 20.0
    stalled: float = 300.0
    requests: int = 100
    waiting: int = 8
    connections: int = 12_000
    lists: int = 32 * 1024 * 1024

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise TypeError(f"{name} must be a number")
            if not value > 0:
                raise ValueError(f"{name} must be above 0")
