"""The clock of a manager, and how long it waits."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from ..errors import RetriableTransferError
from .retry import Jitter, retry_delay


class Timing:
    """Waits by a clock, now and then for longer than the last time."""

    def __init__(self, clock: IReactorTime, jitter: Jitter) -> None:
        """
        Nothing waits.

        :param jitter: see :func:`.retry_delay`.
        """
        self._clock = clock
        self._jitter = jitter

    def seconds(self) -> float:
        """Give the seconds of the clock."""
        return self._clock.seconds()

    def sleep(self, seconds: float) -> Deferred[None]:
        """Wait so long."""
        return deferLater(self._clock, seconds)

    def call_outside(self, function: Callable[[], object]) -> Deferred[None]:
        """
        Call a function from the reactor.

        It may cancel the Deferred, or whoever waits for that: a coroutine that called it could not
        be cancelled meanwhile, since it would wait for nothing.

        :return: fires when it has been called.
        """

        def cancel(_: object) -> None:
            if call.active():
                call.cancel()

        def call_it() -> None:
            function()
            if not called.called:
                called.callback(None)

        called: Deferred[None] = Deferred(cancel)
        call = self._clock.callLater(0, call_it)
        return called

    def retry_delay(self, failures: int, error: BaseException | None = None) -> float:
        """Say how long to wait before another try; see :func:`.retry_delay`."""
        asked = error.retry_after if isinstance(error, RetriableTransferError) else None
        return retry_delay(failures, self._jitter, asked)
