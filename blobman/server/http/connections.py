"""How many connections there are, of all listeners together: no more than files can be open."""

from __future__ import annotations

import resource
from contextlib import suppress
from typing import Any

from twisted.logger import Logger

HEADROOM = 128
"""Open files that are for other things than connections: the index, listeners, threads."""

EACH = 2
"""Open files for a connection: itself, and that of the blob that comes or goes."""

FOR_OTHERS = 10
"""One connection in so many, or more, is for requests that do not wait for changes."""

LOG_EVERY = 60.0
"""Seconds in which refusals are logged at most once."""


def most_possible() -> int:
    """Tell for how many connections the process may open files."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        limit = 2**31
    return max(1, (limit - HEADROOM) // EACH)


def allow(most: int) -> None:
    """Let this process open the files for so many connections, or as many as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = HEADROOM + EACH * most
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # What the system does not let it have, it can do without: fewer connections come then.
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Connections:
    """
    Counts the open connections.

    :param most: how many there may be; fewer if there can't be that many open files.
    :param clock: an ``IReactorTime``.
    :ivar open: how many there are.
    """

    _log = Logger()

    def __init__(self, most: int, clock: Any) -> None:
        self.most = min(most, most_possible())
        self.open = 0
        self._clock = clock
        self._refused = 0
        self._log_at = 0.0

    @property
    def most_waiting(self) -> int:
        """How many of them may have a request that waits for changes."""
        return max(1, self.most * (FOR_OTHERS - 1) // FOR_OTHERS)

    def enter(self) -> bool:
        """
        Count one more, if there is room for it.

        :return: whether there is; then call :meth:`leave` at its end.
        """
        if self.open >= self.most:
            self._note_refusal()
            return False
        self.open += 1
        return True

    def leave(self) -> None:
        """Count one less."""
        self.open -= 1

    def _note_refusal(self) -> None:
        self._refused += 1
        now = self._clock.seconds()
        if now >= self._log_at:
            self._log.warn(
                "{refused} connections refused: there are {most} already",
                refused=self._refused,
                most=self.most,
            )
            self._refused, self._log_at = 0, now + LOG_EVERY
