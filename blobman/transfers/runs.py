"""A run: many blobs to be transferred, the most urgent first, each as often as it is worth it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from twisted.internet.defer import CancelledError, Deferred, DeferredList, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from ..errors import DeletedMeanwhile, RetriableTransferError
from ..model import Priority, QueuedTransfer
from .retry import Jitter, ends_run, is_retriable, retry_delay

PAGE_SIZE = 500
"""How many blobs are taken from the store at a time."""

WINDOW = 256
"""How many blobs of a run wait for a permit, or are transferred, at a time."""

REFILL = 64
"""How many of these have to end before others follow them."""

MOST_RETRIES = 10_000
"""How many blobs of a run wait for another attempt before no more are begun."""

TURN = 0.004
"""Seconds for which transfers are begun before the reactor gets a turn for other things."""


Page = Callable[[QueuedTransfer | None], Deferred[list[QueuedTransfer]]]
"""Fires with the blobs that come after one, or with the first ones; none at the end."""

Attempt = Callable[[QueuedTransfer, "float | None"], Deferred[None]]
"""Transfers a blob, at a time of the clock or at once, when it has a permit."""

LookAgain = Callable[[], Deferred[bool]]
"""Fires with whether blobs may have come to the list of which its pages said nothing."""

Ended = Callable[[QueuedTransfer, "BaseException | None"], object]
"""Told of a blob that was transferred, with None; or that was given up, with the error."""


def pages_of(blob_ids: Sequence[str]) -> Page:
    """Give some blobs page by page, in this order, all as urgent as is usual."""

    def page(after: QueuedTransfer | None) -> Deferred[list[QueuedTransfer]]:
        start = 0 if after is None else after.age + 1
        ids = enumerate(blob_ids[start : start + PAGE_SIZE], start)
        return succeed([QueuedTransfer(it, Priority.DEFAULT, age) for age, it in ids])

    return page


class TransferRun:
    """
    Makes one attempt after another at the blobs of a list.

    A blob that fails for a reason that may pass is tried again later, and is nowhere in the
    way meanwhile. Another failure ends that blob; one that every blob would meet ends the run.
    """

    def __init__(
        self,
        clock: IReactorTime,
        jitter: Jitter,
        page: Page,
        attempt: Attempt,
        look_again: LookAgain = lambda: succeed(False),
        ended: Ended = lambda queued, error: None,
        given_up: set[str] | None = None,
    ) -> None:
        """
        Nothing is under way.

        :param given_up: the ids of blobs that are left alone; those that are given up come to them.
        """
        self._clock = clock
        self._jitter = jitter
        self._page = page
        self._attempt = attempt
        self._look_again = look_again
        self._ended = ended
        self._given_up = set() if given_up is None else given_up
        # Those that wait, or are under way: pages may list them again.
        self._taken: set[str] = set()
        self._ready: deque[QueuedTransfer] = deque()
        self._last: QueuedTransfer | None = None
        self._exhausted = False
        self._is_refreshed = False
        self._failures: dict[str, int] = {}
        self._in_flight: dict[Deferred[None], None] = {}
        self._retries = 0
        self._is_stopping = False
        self._sleeping: Deferred[None] | None = None
        self._few = 0
        self._first_error: BaseException | None = None
        self._fatal: BaseException | None = None

    async def run(self) -> BaseException | None:
        """
        Transfer all of them.

        :return: the first error of a blob that was given up, if any.
        :raise UnauthorizedError: or ``CertificateError``: it would be the same for all.
        """
        try:
            turn_began = self._clock.seconds()
            while await self._has_next():
                self._launch(self._ready.popleft())
                if self._clock.seconds() - turn_began > TURN:
                    await deferLater(self._clock, 0)
                    turn_began = self._clock.seconds()
        finally:
            await self._stop()
        if self._fatal is not None:
            raise self._fatal
        return self._first_error

    def refresh(self) -> None:
        """Take in blobs that have come to the list since its pages were read."""
        self._last, self._exhausted, self._is_refreshed = None, False, True
        # They are listed again, in the order that holds now.
        self._taken.difference_update(queued.blob_id for queued in self._ready)
        self._ready.clear()
        self._wake()

    async def _has_next(self) -> bool:
        while self._fatal is None:
            if self._first_attempts() >= WINDOW or self._retries >= MOST_RETRIES:
                await self._sleep(WINDOW - REFILL)
            elif self._ready:
                return True
            elif not self._exhausted:
                await self._load()
            elif self._in_flight:
                await self._sleep(0)
            elif await self._look_again():
                self._last, self._exhausted = None, False
            elif self._exhausted:
                return False
        return False

    async def _load(self) -> None:
        self._is_refreshed = False
        page = await self._page(self._last)
        if self._is_refreshed:
            # The page may be older than what is to be taken in.
            return
        self._exhausted = not page
        for queued in page:
            if queued.blob_id not in self._given_up and queued.blob_id not in self._taken:
                self._taken.add(queued.blob_id)
                self._ready.append(queued)
            self._last = queued

    def _first_attempts(self) -> int:
        # Retries are no reason not to begin others.
        return len(self._in_flight) - self._retries

    def _launch(self, queued: QueuedTransfer, due: float | None = None) -> None:
        is_retry = due is not None
        self._retries += is_retry
        self._taken.add(queued.blob_id)
        attempt = self._attempt(queued, due)
        self._in_flight[attempt] = None
        attempt.addBoth(self._landed, queued, attempt, is_retry)

    def _landed(
        self, result: object, queued: QueuedTransfer, attempt: Deferred[None], is_retry: bool
    ) -> None:
        self._in_flight.pop(attempt, None)
        self._taken.discard(queued.blob_id)
        self._retries -= is_retry
        if isinstance(result, Failure) and result.value is not None:
            self._failed(result.value, queued)
        else:
            self._failures.pop(queued.blob_id, None)
            self._ended(queued, None)
        if self._fatal is not None or self._first_attempts() <= self._few:
            self._wake()

    def _failed(self, error: BaseException, queued: QueuedTransfer) -> None:
        if self._is_stopping or isinstance(error, (DeletedMeanwhile, CancelledError)):
            return
        if ends_run(error):
            self._fatal = self._fatal or error
        elif is_retriable(error, self._failures.get(queued.blob_id, 0) + 1):
            self._delay(error, queued)
        else:
            self._given_up.add(queued.blob_id)
            self._first_error = self._first_error or error
            self._ended(queued, error)

    def _delay(self, error: BaseException, queued: QueuedTransfer) -> None:
        failures = self._failures[queued.blob_id] = self._failures.get(queued.blob_id, 0) + 1
        asked = error.retry_after if isinstance(error, RetriableTransferError) else None
        try:
            delay = retry_delay(failures, self._jitter, asked)
        except Exception as wrong:
            # The application's own jitter: no other attempt would do better.
            self._fatal = self._fatal or wrong
            return
        self._launch(queued, self._clock.seconds() + delay)

    async def _sleep(self, few: int) -> None:
        """Wait until so few are in flight, or until there is another reason to go on."""
        self._few = few
        self._sleeping = Deferred()
        await self._sleeping

    def _wake(self) -> None:
        sleeping, self._sleeping = self._sleeping, None
        if sleeping is not None and not sleeping.called:
            sleeping.callback(None)

    async def _stop(self) -> None:
        self._is_stopping = True
        # The last ones first: a permit that is given back must not start one that waits.
        attempts = list(reversed(self._in_flight))
        for attempt in attempts:
            attempt.cancel()
        await DeferredList(attempts)
