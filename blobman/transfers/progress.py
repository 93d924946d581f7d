"""Tells an application how transfers get on, not more often than it can use."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from ..interfaces import ITransferObserver
from ..model import BlobKey, TransferProgress

INTERVAL = 0.1
"""Seconds between two reports of one transfer's bytes."""

_log = Logger()


class Reporter:
    """
    Reports one transfer to an observer. Call it with the bytes done, and in all.

    Until it ends, it is the reactor that tells the observer, and not the transfer: so the observer
    can cancel it. Twisted can't cancel a coroutine that is running.
    """

    def __init__(
        self, clock: IReactorTime, observer: ITransferObserver, key: BlobKey, direction: str
    ) -> None:
        self._clock = clock
        self._observer = observer
        self._progress = TransferProgress(key.blob_id, key.namespace, direction, 0, 0, "running")
        self._last = clock.seconds() - INTERVAL
        self._telling: IDelayedCall | None = None

    def __call__(self, done: int, total: int) -> None:
        """Report bytes, if it is time again."""
        self._progress = self._progress._replace(done=done, total=total)
        if self._clock.seconds() - self._last >= INTERVAL:
            self._tell_soon()

    async def follow(self, transfer: Deferred[None] | Coroutine[Deferred[Any], Any, None]) -> None:
        """Make the transfer, and report its beginning and its end."""
        self._tell_soon()
        try:
            await transfer
        except CancelledError:
            self._end("cancelled")
            raise
        except BaseException:
            self._end("failed")
            raise
        self._end("done")

    def _end(self, state: str) -> None:
        if self._telling is not None:
            self._telling.cancel()
            self._tell()
        self._progress = self._progress._replace(state=state)
        self._tell()

    def _tell_soon(self) -> None:
        self._last = self._clock.seconds()
        if self._telling is None:
            self._telling = self._clock.callLater(0, self._tell)

    def _tell(self) -> None:
        self._telling = None
        try:
            self._observer.transfer_changed(self._progress)
        except Exception:
            _log.failure("The observer of transfers failed")
