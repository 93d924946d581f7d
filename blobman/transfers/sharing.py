"""One shared transfer per blob."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

from twisted.internet.defer import Deferred, DeferredList, ensureDeferred, fail, succeed
from twisted.python.failure import Failure

from ..model import BlobKey
from .permits import Permits, Place

Transferring: TypeAlias = "Deferred[None] | Coroutine[Deferred[Any], Any, None]"

Start = Callable[[Place], Transferring]
"""Makes a transfer, waiting for its permit in the place given."""


class _Transfer:
    """
    One transfer that is waiting for its permit or under way, and those who wait for it.

    :ivar kind: upload, download or delete.
    :ivar place: what its turn depends on.
    :ivar callers: each fires as the transfer ends.
    :ivar watchers: each fires with None when it is over and all cleaned up, however it ended.
    :ivar result: None, or the failure; only when ``over``.
    :ivar cancelled: it is on its way to its end: nobody may join any more.
    :ivar reason: what its callers are told if it was cancelled for all of them.
    """

    __slots__ = (
        "callers",
        "cancelled",
        "kind",
        "over",
        "place",
        "reason",
        "result",
        "watchers",
        "work",
    )

    def __init__(self, kind: str, place: Place) -> None:
        self.kind = kind
        self.place = place
        self.callers: list[Deferred[None]] = []
        self.watchers: list[Deferred[None]] = []
        self.over = False
        self.result: Failure | None = None
        self.cancelled = False
        self.reason: BaseException | None = None
        self.work: Deferred[None]

    def end(self, result: Failure | None) -> None:
        """It is over: tell everybody."""
        if result is not None and self.reason is not None:
            result = Failure(self.reason)
        self.over, self.result = True, result
        callers, self.callers = self.callers, []
        for caller in callers:
            # One may have been cancelled by another who has just been told.
            if not caller.called:
                caller.callback(result)
        watchers, self.watchers = self.watchers, []
        for watcher in watchers:
            watcher.callback(None)

    def cancel(self, reason: BaseException | None = None) -> None:
        """Cancel it for all who wait."""
        if not self.cancelled:
            self.cancelled, self.reason = True, reason
            self.work.cancel()

    def ended(self) -> Deferred[None]:
        """Wait for its end, whatever that is. Cancelling this does nothing to it."""
        if self.over:
            return succeed(None)
        watcher: Deferred[None] = Deferred()
        self.watchers.append(watcher)
        return watcher

    def join(self) -> Deferred[None]:
        """
        Wait for its result.

        :return: ends as it does. Cancelling the last one who waits cancels it, and fails when it
            is over.
        """
        if self.over:
            return succeed(None) if self.result is None else fail(self.result)
        caller: Deferred[None] = Deferred(self._leave)
        self.callers.append(caller)
        return caller.addErrback(self._once_over)

    def _leave(self, caller: Deferred[None]) -> None:
        # Else `end` is telling them just now.
        if caller in self.callers:
            self.callers.remove(caller)
            if not self.callers:
                self.cancel()

    def _once_over(self, failure: Failure) -> Any:
        # Who left others alone need not wait for them.
        if self.over or not self.cancelled:
            return failure
        return self.ended().addCallback(lambda _: failure)


class Transfers:
    """
    The transfers of a manager: at most one per blob, at most as many at a time as permitted.

    Callers of the same blob share its transfer. One that cancels leaves the others alone; when
    the last one does, the transfer is cancelled, and that caller is told when it is over.

    :ivar permits: the permits that all transfers need.
    """

    def __init__(self, limit: Callable[[], int]) -> None:
        """
        Nothing is under way.

        :param limit: see :class:`Permits`.
        """
        self.permits = Permits(limit)
        self._transfers: dict[BlobKey, _Transfer] = {}
        self._cancellations = 0

    def watch_cancellations(self) -> Callable[[], Deferred[bool]]:
        """
        Take note of transfers that are cancelled: what they had done may be undone.

        :return: waits until those that are being cancelled have ended; fires with whether any was,
            from this call on or since it was asked last.
        """
        noted = self._cancellations

        async def were_there_any() -> bool:
            nonlocal noted
            ending = [it.ended() for it in self._transfers.values() if it.cancelled]
            await DeferredList(ending)
            before, noted = noted, self._cancellations
            return noted != before

        return lambda: Deferred.fromCoroutine(were_there_any())

    def share(
        self, key: BlobKey, kind: str, priority: int, start: Start, age: int | None = None
    ) -> Deferred[None]:
        """
        Take part in the transfer of a blob; begin it if there is none.

        One of another kind is waited for first.

        :param kind: what is done with the blob: only those that want the same share it.
        :param priority: one that is waiting moves up to it.
        :param start: makes the transfer, if it is to be begun.
        :param age: a number from ``permits.new_age``; None for a new one.
        :return: fires with None, or fails, as the transfer does.
        """
        transfer = self._transfers.get(key)
        if transfer is None:
            age = self.permits.new_age() if age is None else age
            transfer = self._begin(key, kind, Place(priority, age), start)
        elif transfer.cancelled or transfer.kind != kind:
            return transfer.ended().addCallback(
                lambda _: self.share(key, kind, priority, start, age)
            )
        else:
            transfer.place.promote(priority)
        return transfer.join()

    def replace(
        self, key: BlobKey, kind: str, priority: int, start: Start, reason: BaseException
    ) -> Deferred[None]:
        """
        Do the same, but cancel one of another kind rather than wait for it.

        :param reason: what all who wait for that one fail with.
        :return: as ``share``.
        """

        async def cancel_and_share() -> None:
            while (other := self._transfers.get(key)) is not None and other.kind != kind:
                other.cancel(reason)
                await other.ended()
            await self.share(key, kind, priority, start)

        return Deferred.fromCoroutine(cancel_and_share())

    def _begin(self, key: BlobKey, kind: str, place: Place, start: Start) -> _Transfer:
        transfer = self._transfers[key] = _Transfer(kind, place)
        try:
            transfer.work = ensureDeferred(start(place))
        except Exception:
            transfer.work = fail()
        transfer.work.addBoth(self._finish, key, transfer)
        return transfer

    def _finish(self, result: Failure | None, key: BlobKey, transfer: _Transfer) -> None:
        del self._transfers[key]
        self._cancellations += transfer.cancelled
        transfer.end(result)
