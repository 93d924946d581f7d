"""Tells an application how transfers get on, not more often than it can use."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ..interfaces import ITransferObserver
from ..model import BlobKey, TransferProgress

INTERVAL = 0.1
"""Seconds between two reports of one transfer's bytes."""

_log = Logger()


class Reporter:
    """Reports one transfer to an observer. Call it with the bytes done, and in all."""

    def __init__(
        self, clock: IReactorTime, observer: ITransferObserver, key: BlobKey, direction: str
    ) -> None:
        self._clock = clock
        self._observer = observer
        self._progress = TransferProgress(key.blob_id, key.namespace, direction, 0, 0, "running")
        self._last = clock.seconds() - INTERVAL

    def __call__(self, done: int, total: int) -> None:
        """Report bytes, if it is time again."""
        self._progress = self._progress._replace(done=done, total=total)
        if self._clock.seconds() - self._last >= INTERVAL:
            self._tell()

    async def follow(self, transfer: Deferred[None] | Coroutine[Deferred[Any], Any, None]) -> None:
        """Make the transfer, and report each of its states at once."""
        self._enter("running")
        try:
            await transfer
        except CancelledError:
            self._enter("cancelled")
            raise
        except BaseException:
            self._enter("failed")
            raise
        self._enter("done")

    def _enter(self, state: str) -> None:
        self._progress = self._progress._replace(state=state)
        self._tell()

    def _tell(self) -> None:
        self._last = self._clock.seconds()
        try:
            self._observer.transfer_changed(self._progress)
        except Exception:
            _log.failure("The observer of transfers failed")
