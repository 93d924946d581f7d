"""What is found to be out of step in a namespace is moved."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, succeed

from ..errors import BlobError
from ..model import BlobKey, QueuedTransfer, SyncStatus
from ..results import Account
from ..transfers.engine import Attempt, Engine
from ..transfers.runs import PAGE_SIZE, LookAgain, Page, TransferRun, pages_of
from .comparing import Comparer, Differences

Move = Coroutine[Deferred[Any], Any, "BaseException | None"]
"""Moves blobs; see :class:`Mover` for what it returns."""

Begun = Callable[[TransferRun], object]
"""Given a run, for what may be done with it until it has ended."""


class Mover:
    """
    Compares a namespace, and moves what that has found.

    What it does returns the first error of a blob that could not be moved, or None; and raises what
    every other blob would meet, too.

    :ivar account: what has been done.
    """

    def __init__(
        self,
        engine: Engine,
        comparer: Comparer,
        account: Account,
        given_up: Mapping[SyncStatus, set[str]] | None = None,
    ) -> None:
        """
        Nothing is under way.

        :param given_up: the ids that are left alone, by the statuses that they wait in; those that
            are given up come to them.
        """
        self.account = account
        self._engine = engine
        self._comparer = comparer
        self._given_up = {} if given_up is None else given_up

    async def sync(self, full: bool) -> BaseException | None:
        """Bring the namespace into step; see :meth:`.BlobsSynchronizer.sync`."""
        found = await self.compare(full)
        if not found.waiting:
            return None
        moves: dict[SyncStatus, Callable[[], Move]] = {
            SyncStatus.PENDING_DELETE: self.send_deletions,
            SyncStatus.SYNCED: partial(self.replace, found.used_again),
            SyncStatus.PENDING_DOWNLOAD: self.fetch_missing,
            SyncStatus.PENDING_UPLOAD: self.send_missing,
        }
        errors = await self._engine.together(
            [move() for status, move in moves.items() if status in found.waiting]
        )
        if self.account.sent or self.account.deleted > found.deleted:
            errors.append(await self._look_again(found))
        await self._note_left_alone()
        return next(filter(None, errors), None)

    async def send_alone(self) -> BaseException | None:
        """Send what is missing; see :meth:`.BlobsSynchronizer.send_missing`."""
        error = await self.send_missing()
        await self._note_left_alone()
        return error

    async def fetch_alone(self) -> BaseException | None:
        """Fetch what is missing; see :meth:`.BlobsSynchronizer.fetch_missing`."""
        error = await self.fetch_missing()
        await self._note_left_alone()
        return error

    async def _note_left_alone(self) -> None:
        """Take note of what failed for good, now or earlier."""
        store, namespace = self._engine.need_store(), self.account.namespace
        failed = {SyncStatus.FAILED_UPLOAD, SyncStatus.FAILED_DOWNLOAD}
        waiting = await store.find_waiting(namespace)
        for status in sorted(failed & waiting.statuses):
            self.account.note_left_alone(status, await store.list_status(status, namespace))

    async def compare(self, full: bool = False) -> Differences:
        """Find out what has changed, and which blobs of ours got through earlier."""
        found = await self._comparer.compare(self.account.namespace, full)
        self.account.deleted += found.deleted
        await self.settle(found)
        if SyncStatus.FAILED_UPLOAD in found.waiting and not found.is_list:
            await self.retry_refused()
            found.waiting |= {SyncStatus.PENDING_UPLOAD}
        if found.used_again:
            found.waiting |= {SyncStatus.SYNCED}
        return found

    async def _look_again(self, before: Differences) -> BaseException | None:
        """
        Come to know of our own changes.

        A server that is restored from a backup that was made before them refuses the cursor then.
        Else what it has lost would not be noticed before the next full comparison.
        """
        if before.is_list:
            return None
        try:
            found = await self.compare()
        except BlobError as error:
            return error
        return await self.fetch_missing() if found.is_news else None

    async def settle(self, found: Differences) -> None:
        """Find out which blobs that wait to be uploaded the server has already."""
        namespace = self.account.namespace
        await self._engine.settle(BlobKey(namespace, blob_id) for blob_id in found.unsettled)

    async def retry_refused(self) -> None:
        """Have blobs sent again that the server refused, and does not have."""
        store, namespace = self._engine.need_store(), self.account.namespace
        if SyncStatus.FAILED_UPLOAD in (await store.find_waiting(namespace)).statuses:
            await store.retry_refused(namespace)

    async def send_missing(self, begun: Begun = bool) -> BaseException | None:
        """Upload what is PENDING_UPLOAD."""
        return await self._run(SyncStatus.PENDING_UPLOAD, self._engine.upload_or_fail, begun)

    async def fetch_missing(self, begun: Begun = bool) -> BaseException | None:
        """Download what is PENDING_DOWNLOAD."""
        return await self._run(SyncStatus.PENDING_DOWNLOAD, self._engine.download, begun)

    async def send_deletions(self, begun: Begun = bool) -> BaseException | None:
        """Complete what is PENDING_DELETE."""
        others: list[BlobKey] = []

        def attempt(key: BlobKey, priority: int, age: int, due: float | None) -> Deferred[None]:
            def is_another() -> None:
                others.append(key)
                # The run counts its success.
                self.account.deleted -= 1

            return self._engine.resume_deletion(key, priority, age, due, is_another)

        error = await self._run(SyncStatus.PENDING_DELETE, attempt, begun)
        # What has been found to be another blob may have come too late for the other run.
        fetching = await self.fetch_missing(begun) if others else None
        return error or fetching

    async def replace(
        self, used_again: Sequence[str] = (), begun: Begun = bool
    ) -> BaseException | None:
        """
        Fetch what the server has under ids of blobs that are SYNCED, where it is another blob.

        :param used_again: ids of which no tags were told.
        """

        def is_the_same() -> None:
            # The run counts its success.
            self.account.fetched -= 1

        def attempt(key: BlobKey, priority: int, age: int, due: float | None) -> Deferred[None]:
            return self._engine.replace(key, priority, age, due, is_the_same)

        namespace = self.account.namespace
        outdated = partial(self._engine.need_store().next_outdated, namespace, PAGE_SIZE)
        errors = [
            await self._run_pages(SyncStatus.SYNCED, page, attempt, begun)
            for page in (pages_of(used_again), outdated)
        ]
        return next(filter(None, errors), None)

    async def _run(
        self, status: SyncStatus, attempt: Attempt, begun: Begun
    ) -> BaseException | None:
        store, namespace = self._engine.need_store(), self.account.namespace
        page = partial(store.next_transfers, status, namespace, PAGE_SIZE)
        look_again = self._engine.watch_cancellations()
        return await self._run_pages(status, page, attempt, begun, look_again)

    async def _run_pages(
        self,
        status: SyncStatus,
        page: Page,
        attempt: Attempt,
        begun: Begun,
        look_again: LookAgain = lambda: succeed(False),
    ) -> BaseException | None:
        def ended(queued: QueuedTransfer, error: BaseException | None) -> None:
            self.account.note(status, queued.blob_id, error)

        return await self._engine.run(
            self.account.namespace,
            page,
            attempt,
            ended,
            look_again,
            begun,
            self._given_up.get(status),
        )
