"""
Compare the index with all files, again and again, while the server serves.

This is how files are found that somebody else has put there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from . import walking
from .folder import BlobFolder

INTERVAL = 15 * 60.0
"""Seconds from the end of one comparison to the next."""

STEP = 500
"""How many names are looked at in one go."""

REST = 4.0
"""How much longer than each step the rest after it is."""

Run = Callable[..., Deferred[Any]]
"""Calls a function in a thread."""


class Watch:
    """
    Compares now and then, and leaves most of the time to others.

    :param run: calls a function in a thread.
    :param clock: an ``IReactorTime``.
    :ivar compared: fires when the comparison that is under way has ended, or been stopped.
    """

    _log = Logger()

    def __init__(self, folder: BlobFolder, run: Run, clock: IReactorTime) -> None:
        self._folder = folder
        self._run = run
        self._clock = clock
        self._next: IDelayedCall | None = None
        self._steps: walking.Steps | None = None
        self.compared: Deferred[None] = succeed(None)

    def begin(self) -> None:
        """Begin with a comparison now."""
        self._steps, self.compared = walking.compare(self._folder), Deferred()
        self._step()

    def begin_later(self) -> None:
        """Begin with a comparison after a while."""
        self._next = self._clock.callLater(INTERVAL, self.begin)

    def stop(self) -> None:
        """Begin no step any more; what is under way ends by itself."""
        following, self._next = self._next, None
        if following is not None and following.active():
            following.cancel()
        if self._steps is not None:
            self._end()

    def _step(self) -> None:
        steps = self._steps
        began = self._clock.seconds()

        def rest(is_at_end: bool) -> None:
            if self._steps is not steps:
                return
            if is_at_end:
                self._end()
                self.begin_later()
            else:
                pause = REST * (self._clock.seconds() - began)
                self._next = self._clock.callLater(pause, self._step)

        def fail(failure: object) -> None:
            if self._steps is steps:
                self._log.error(
                    "The index could not be compared with the files: {why}", why=failure
                )
                self._end()
                self.begin_later()

        self._run(walking.put_right, self._folder, steps, STEP).addCallbacks(rest, fail)

    def _end(self) -> None:
        self._steps, compared = None, self.compared
        compared.callback(None)
