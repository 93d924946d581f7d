"""Tells an application how transfers get on, not more often than it can use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..interfaces import ITransferObserver, Progress
from ..model import BlobKey, TransferProgress

INTERVAL = 0.1
"""Seconds between two reports of one transfer's bytes."""

_log = Logger()


class Report(Protocol):
    """Told how a transfer gets on."""

    def __call__(self, done: int, total: int) -> None:
        """Take note of the bytes done, and in all."""

    def ended(self, failure: Failure | None) -> None:
        """Take note of the end."""


class _Silent:
    """Tells nobody."""

    def __call__(self, done: int, total: int) -> None:
        pass

    def ended(self, failure: Failure | None) -> None:
        pass


SILENT = _Silent()
"""For transfers that nobody observes."""


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

    def began(self) -> None:
        """Report that it is under way."""
        self._tell_soon()

    def ended(self, failure: Failure | None) -> None:
        """Report how it has ended, and not later."""
        if self._telling is not None:
            self._telling.cancel()
            self._tell()
        state = "done" if failure is None else "failed"
        if failure is not None and failure.check(CancelledError):
            state = "cancelled"
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


class Reports:
    """Makes the reports of all transfers of a manager."""

    def __init__(self, clock: IReactorTime, observer: ITransferObserver | None) -> None:
        """
        Nothing is reported yet.

        :param observer: who is told; None for nobody.
        """
        self._clock = clock
        self._observer = observer

    def begin(self, key: BlobKey, direction: str) -> Report:
        """Report that a transfer is under way."""
        if self._observer is None:
            return SILENT
        report = Reporter(self._clock, self._observer, key, direction)
        report.began()
        return report

    async def of_part(
        self, transfer: Callable[[Progress], Awaitable[None]], key: BlobKey, direction: str
    ) -> None:
        """
        Make a transfer that is a part of something else, and report it from begin to end.

        :param transfer: makes it, and tells its progress.
        """
        report = self.begin(key, direction)
        try:
            await transfer(report)
        except BaseException as error:
            report.ended(Failure(error))
            raise
        report.ended(None)
