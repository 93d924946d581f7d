"""One transfer, from its beginning to its end, and those who wait for it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

from twisted.internet.defer import Deferred, ensureDeferred, fail, succeed
from twisted.python.failure import Failure

from ..model import BlobKey
from .progress import SILENT, Report
from .queue import Entry

Next: TypeAlias = "Callable[[], object] | None"
"""What takes a transfer over; None if it is over."""

Transferring: TypeAlias = "Deferred[Any] | Coroutine[Deferred[Any], Any, Any]"
"""Work on a transfer, which gives a :data:`Next`."""

Start = Callable[["Transfer"], "Transferring | None"]
"""Begins a transfer. None if it has been handed to who will end it."""


class Transfer(Entry):
    """
    One transfer that is waiting or under way, and those who wait for it.

    It is in the hands of one at a time: of the queue while it waits, of a bundle while it goes
    along with others, or of work of its own. Each can hand it to the next, or end it.

    :ivar report: told of its progress, and of its end.
    :ivar stop: cancels what it is in the hands of, which ends it then.
    :ivar arrived: what the bundle that it goes along with tells its outcome.
    :ivar cancelled: it is on its way to its end: nobody may join any more.
    :ivar over: it has ended.
    """

    __slots__ = (
        "_callers",
        "_note_end",
        "_reason",
        "_result",
        "_watchers",
        "arrived",
        "cancelled",
        "over",
        "report",
        "stop",
    )

    key: BlobKey

    def __init__(
        self,
        key: BlobKey,
        kind: str,
        priority: int,
        age: int,
        note_end: Callable[[Transfer], object],
    ) -> None:
        """
        Nobody waits for it.

        :param note_end: told when it is over, before all others.
        """
        super().__init__(key, kind, priority, age)
        self.report: Report = SILENT
        self.stop: Callable[[Transfer], object] | None = None
        self.arrived: Callable[[Transfer, Any], object] | None = None
        self.cancelled = self.over = False
        self._note_end = note_end
        self._callers: list[Deferred[None]] = []
        self._watchers: list[Callable[[], object]] = []
        self._result: Failure | None = None
        self._reason: BaseException | None = None

    def begin(self, start: Start) -> None:
        """Begin it."""
        try:
            work = start(self)
        except Exception:
            self.end(Failure())
            return
        if work is not None:
            self.follow(work)

    def follow(self, work: Transferring) -> None:
        """Have it end as some work does, or be taken over by what that gives."""
        was_cancelled, self.stop = self.cancelled, None
        deferred = ensureDeferred(work)
        self.stop = lambda _: deferred.cancel()
        deferred.addBoth(self._worked)
        if self.cancelled and not was_cancelled and not self.over:
            # By the work itself: Twisted can't cancel a coroutine that is running.
            deferred.cancel()

    def _worked(self, result: Failure | Next) -> None:
        if result is None or isinstance(result, Failure):
            self.end(result)
            return
        result()
        if self.cancelled and self.stop is not None:
            self.stop(self)

    def end(self, failure: Failure | None = None) -> None:
        """
        It is over: tell everybody.

        :param failure: why it failed; None if it did not.
        """
        self.over, self.stop, self.arrived = True, None, None
        self._note_end(self)
        self.report.ended(failure)
        if failure is not None and self._reason is not None:
            failure = Failure(self._reason)
        self._result = failure
        callers, self._callers = self._callers, []
        for caller in callers:
            # One may have been cancelled by another who has just been told.
            if not caller.called:
                caller.callback(failure)
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            watcher()

    def cancel(self, reason: BaseException | None = None) -> None:
        """
        Cancel it for all who wait.

        :param reason: what they are told.
        """
        if not self.cancelled:
            self.cancelled, self._reason = True, reason
            if self.stop is not None:
                self.stop(self)

    def ended(self) -> Deferred[None]:
        """Wait for its end, whatever that is. Cancelling this does nothing to it."""
        if self.over:
            return succeed(None)
        watcher: Deferred[None] = Deferred()
        # It may have been cancelled.
        self._watchers.append(lambda: None if watcher.called else watcher.callback(None))
        return watcher

    def join(self) -> Deferred[None]:
        """
        Wait for its result.

        :return: ends as it does. Cancelling the last one who waits cancels it, and fails when it
            is over.
        """
        if self.over:
            return succeed(None) if self._result is None else fail(self._result)
        caller: Deferred[None] = Deferred(self._leave)
        self._callers.append(caller)
        return caller

    def _leave(self, caller: Deferred[None]) -> None:
        # Else `end` is telling them just now.
        if caller in self._callers:
            self._callers.remove(caller)
            if not self._callers:
                # It has its result when this returns, and passes it on when all is over.
                caller.pause()
                self._watchers.append(caller.unpause)
                self.cancel()
