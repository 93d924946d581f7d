"""One shared transfer per blob."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from ..model import BlobKey
from .permits import Permits
from .transfer import Start, Transfer


class Transfers:
    """
    The transfers of a manager: at most one per blob, at most as many at a time as permitted.

    Callers of the same blob share its transfer. One that cancels leaves the others alone; when
    the last one does, the transfer is cancelled, and that caller is told when it is over.

    :ivar permits: the permits that all transfers need.
    """

    def __init__(self, limit: Callable[[], int], clock: IReactorTime) -> None:
        """
        Nothing is under way.

        :param limit: see :class:`.Permits`.
        :param clock: for transfers that are postponed.
        """
        self.permits = Permits(limit, clock)
        self._transfers: dict[BlobKey, Transfer] = {}
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
        self,
        key: BlobKey,
        kind: str,
        priority: int,
        start: Start,
        age: int | None = None,
        due: float | None = None,
    ) -> Deferred[None]:
        """
        Take part in the transfer of a blob; begin it if there is none.

        One of another kind is waited for first.

        :param kind: what is done with the blob: only those that want the same share it.
        :param priority: one that is waiting moves up to it.
        :param start: begins the transfer, if it is to be begun.
        :param age: a number from ``permits.new_age``; None for a new one.
        :param due: the time of the clock at which to begin it; None for at once. The earliest of
            all who take part counts.
        :return: fires with None, or fails, as the transfer does.
        """
        transfer = self._transfers.get(key)
        if transfer is None:
            age = self.permits.new_age() if age is None else age
            transfer = self._transfers[key] = Transfer(key, kind, priority, age, self._note_end)
            self._begin(transfer, start, due)
        elif transfer.cancelled or transfer.kind != kind:
            self.permits.hasten(transfer)
            return transfer.ended().addCallback(
                lambda _: self.share(key, kind, priority, start, age, due)
            )
        else:
            if priority > transfer.priority:
                self.permits.promote(transfer, priority)
            if due is None:
                self.permits.hasten(transfer)
            elif transfer.due is not None and due < transfer.due:
                self.permits.remove(transfer)
                self.permits.postpone(transfer, due)
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

    def _begin(self, transfer: Transfer, start: Start, due: float | None) -> None:
        if due is None:
            transfer.begin(start)
            return
        transfer.go = partial(transfer.begin, start)
        transfer.stop = self._give_up
        self.permits.postpone(transfer, due)

    def _give_up(self, transfer: Transfer) -> None:
        self.permits.remove(transfer)
        transfer.go = None
        transfer.end(Failure(CancelledError()))

    def _note_end(self, transfer: Transfer) -> None:
        del self._transfers[transfer.key]
        self._cancellations += transfer.cancelled
