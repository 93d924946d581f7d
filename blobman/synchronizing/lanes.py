"""One kind of transfers in a namespace, made whenever there may be some."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ..errors import (
    BlobError,
    CertificateError,
    ClosedError,
    NotConfiguredError,
    UnauthorizedError,
    WrongKeyError,
)
from ..transfers.engine import Engine
from ..transfers.runs import TransferRun
from .moving import Begun

_log = Logger()


def ends_following(error: BaseException) -> bool:
    """Whether it will not pass: somebody has to do something about it first."""
    return isinstance(
        error,
        (UnauthorizedError, CertificateError, NotConfiguredError, ClosedError, WrongKeyError),
    )


class Lane:
    """Makes one kind of transfers in a namespace, whenever there may be some."""

    def __init__(
        self, engine: Engine, move: Callable[[Begun], Awaitable[BaseException | None]]
    ) -> None:
        """
        Nothing is under way.

        :param move: makes those that there are; it gives the runs that it begins.
        """
        self._engine = engine
        self._move = move
        self._is_woken = False
        self._sleeping: Deferred[None] | None = None
        self._run: TransferRun | None = None

    def wake(self) -> None:
        """There may be some."""
        self._is_woken = True
        if self._run is not None:
            self._run.refresh()
        sleeping, self._sleeping = self._sleeping, None
        if sleeping is not None and not sleeping.called:
            sleeping.callback(None)

    async def work(self) -> None:
        """
        Make them as they come.

        :raise BlobError: one that :func:`ends_following`.
        """
        failures = 0
        while True:
            if not self._is_woken:
                self._sleeping = Deferred()
                await self._sleeping
            # Whoever has woken it goes on first.
            await self._engine.sleep(0)
            self._is_woken = False
            try:
                await self._move(self._begun)
                failures = 0
            except BlobError as error:
                failures += 1
                await self._engine.sleep(delay_after(self._engine, error, failures))
                self._is_woken = True
            finally:
                self._run = None

    def _begun(self, run: TransferRun) -> None:
        self._run = run


def delay_after(engine: Engine, error: BlobError, failures: int) -> float:
    """
    Say how long to wait after an error, and note it in the log.

    :raise BlobError: that error, if it ends following.
    """
    if ends_following(error):
        raise error
    delay = engine.retry_delay(failures, error)
    _log.info("Following goes on in {delay:.0f} seconds: {error}", delay=delay, error=error)
    return delay
