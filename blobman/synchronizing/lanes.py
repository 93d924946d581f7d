"""One kind of transfers in a namespace, made whenever there may be some."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import NoReturn, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ..errors import (
    BlobError,
    BlobNotFoundError,
    CertificateError,
    ClosedError,
    NotConfiguredError,
    UnauthorizedError,
    WrongKeyError,
)
from ..transfers.engine import Engine
from ..transfers.runs import TransferRun
from .moving import Begun

T = TypeVar("T")

_log = Logger()


def ends_following(error: BaseException) -> bool:
    """Whether it will not pass: somebody has to do something about it first."""
    return isinstance(
        error,
        (UnauthorizedError, CertificateError, NotConfiguredError, ClosedError, WrongKeyError),
    )


class Patience:
    """Outlives errors that may pass."""

    def __init__(self, engine: Engine, on_error: Callable[[BlobError], object] | None) -> None:
        """
        There has been none.

        :param on_error: called with each, from outside; None if nobody cares.
        """
        self._engine = engine
        self._on_error = on_error

    async def repeat(self, step: Callable[[], Awaitable[float]]) -> NoReturn:
        """
        Do something again and again.

        :param step: does it once, and gives the seconds until the next time.
        :raise BlobError: one that :func:`ends_following`.
        """
        failures = 0
        while True:
            try:
                delay = await step()
                failures = 0
            except BlobError as error:
                if ends_following(error):
                    raise
                failures += 1
                delay = self._engine.timing.retry_delay(failures, error)
                _log.info("Following goes on in {delay:.0f} s: {error}", delay=delay, error=error)
                await self.tell(error)
            await self._engine.timing.sleep(delay)

    async def tell(self, error: BlobError) -> None:
        """Tell who cares."""
        if self._on_error is not None:
            await self._engine.timing.call_outside(partial(call_safely, self._on_error, error))


def call_safely(function: Callable[[T], object], argument: T) -> None:
    """Call a function of the application. If it fails, the log tells of it."""
    try:
        function(argument)
    except Exception:
        _log.failure("The application failed to take notice of {what}", what=argument)


class Lane:
    """Makes one kind of transfers in a namespace, whenever there may be some."""

    def __init__(
        self,
        engine: Engine,
        patience: Patience,
        move: Callable[[Begun], Awaitable[BaseException | None]],
    ) -> None:
        """
        Nothing is under way.

        :param move: makes those that there are; it gives the runs that it begins.
        """
        self._engine = engine
        self._patience = patience
        self._move = move
        self._is_woken = False
        self._not_found = ""
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

    async def work(self) -> NoReturn:
        """
        Make them as they come.

        :raise BlobError: one that :func:`ends_following`.
        """
        await self._patience.repeat(self._make)

    async def _make(self) -> float:
        if not self._is_woken:
            self._sleeping = Deferred()
            await self._sleeping
            # Whoever has woken it goes on first.
            await self._engine.timing.sleep(0)
        self._is_woken = False
        try:
            left = await self._move(self._begun)
        except BlobError:
            self._is_woken = True
            raise
        finally:
            self._run = None
        if isinstance(left, BlobError) and not self._may_be_deleted(left):
            await self._patience.tell(left)
        return 0.0

    def _may_be_deleted(self, error: BlobError) -> bool:
        """Whether a blob was not found that the server may soon tell the deletion of."""
        before, self._not_found = self._not_found, ""
        if isinstance(error, BlobNotFoundError):
            self._not_found = str(error)
        return self._not_found not in ("", before)

    def _begun(self, run: TransferRun) -> None:
        self._run = run
