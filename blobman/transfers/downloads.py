"""One download: alone, or with other blobs in one request; verified, or tried again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail
from zope.interface import implementer

from ..errors import (
    BlobNotFoundError,
    DeletedMeanwhile,
    IllegalStatusChange,
    InvalidBlob,
    MaximumRetriesError,
    ReplacedMeanwhile,
    describe,
)
from ..interfaces import IBlobStore, IRemote, IRemoteStream, IStagedBlob, Progress
from ..model import UNAVAILABLE_STATUSES, BlobKey, Priority, SyncStatus
from .bundles import Bundlers, Outcome, Passenger
from .permits import Permits, Place

BUNDLE_LIMIT = 64
"""How many blobs come down in one request at most."""


class Downloader:
    """Fetches what is not here, and records what became of it."""

    def __init__(
        self,
        store: IBlobStore,
        remote: IRemote,
        stream: IRemoteStream | None,
        permits: Permits,
        attempts: Callable[[], int],
    ) -> None:
        """
        Nothing is under way.

        :param stream: None if every blob comes alone.
        :param attempts: says how often a blob that does not verify is downloaded in all.
        """
        self._store = store
        self._remote = remote
        self._stream = stream
        self._permits = permits
        self._attempts = attempts
        self._bundlers = Bundlers(permits, self._carry, BUNDLE_LIMIT)

    async def download(self, key: BlobKey, place: Place, report: Progress, asked_for: bool) -> None:
        """
        Download a blob, if it is not here yet.

        :param asked_for: whether it is wanted though it is not PENDING_DOWNLOAD.
        :raise BlobNotFoundError: the server does not have it, or it is being deleted; nothing is
            recorded of it any more.
        :raise MaximumRetriesError: it does not verify; it is FAILED_DOWNLOAD now.
        :raise BlobError: what else the server or the store said; it is PENDING_DOWNLOAD.
        """
        store = self._store
        before: SyncStatus | None = SyncStatus.PENDING_DOWNLOAD
        # What a run found just now is not looked up one by one again, as long as it costs little
        # to download it for nothing: the store takes what is still wanted, and nothing else.
        if asked_for or self._stream is None:
            before = await self._look_up(key, asked_for)
        if before is not None and before not in UNAVAILABLE_STATUSES:
            return
        try:
            if before is not SyncStatus.PENDING_DOWNLOAD:
                urgency = Priority(place.priority)
                await store.update_sync_status(
                    key.blob_id, SyncStatus.PENDING_DOWNLOAD, key.namespace, urgency
                )
            await self._download_verified(key, place, report)
        except BlobNotFoundError:
            if not asked_for:
                # The server has it no more because it was deleted from here, perhaps.
                await self._look_up(key, asked_for)
            await store.forget(key.blob_id, key.namespace)
            raise
        except IllegalStatusChange as error:
            if await store.exists(key.blob_id, key.namespace):
                return
            raise DeletedMeanwhile.of(key.blob_id, key.namespace) from error
        except CancelledError:
            await self._restore(key, before)
            raise

    async def is_outdated(self, key: BlobKey, place: Place) -> bool:
        """
        Find out whether the server has another blob than the one that is SYNCED here.

        If it has any, the tombstone that it has of the id, too, is older: that is noted.

        :raise BlobError: as asking the server, or reading the copy, does.
        """
        if await self._status(key) is not SyncStatus.SYNCED:
            return False
        payload = await self._store.open_payload(key.blob_id, key.namespace)
        if payload is None:
            return False
        async with self._permits.hold(place):
            try:
                tag = await self._remote.compare(key.blob_id, payload, key.namespace)
            except BlobNotFoundError:
                # It was deleted just now, which the next comparison finds out.
                return False
        await self._store.note_older_tombstone(key.blob_id, key.namespace)
        if tag is not None:
            await self._store.record_tag(key.blob_id, tag, key.namespace)
        return tag is None

    async def replace(self, key: BlobKey, place: Place, report: Progress) -> None:
        """
        Replace a copy that is SYNCED by what the server has; it stays until that has come.

        :raise MaximumRetriesError: what the server has does not verify.
        :raise DeletedMeanwhile: it was deleted here.
        :raise BlobError: what else the server or the store said.
        """
        try:
            await self._replace_verified(key, place, report)
        except IllegalStatusChange as error:
            raise DeletedMeanwhile.of(key.blob_id, key.namespace) from error

    async def _replace_verified(self, key: BlobKey, place: Place, report: Progress) -> None:
        failures = 0
        while (error := await self._try_to_replace(key, place, report)) is not None:
            failures += 1
            if failures >= self._attempts():
                raise _given_up(key, failures, error) from error

    async def _try_to_replace(
        self, key: BlobKey, place: Place, report: Progress
    ) -> InvalidBlob | None:
        try:
            await self._download_alone(key, place, report, replace=True)
        except InvalidBlob as error:
            return error
        return None

    async def _status(self, key: BlobKey) -> SyncStatus | None:
        record = await self._store.get_sync_status(key.blob_id, key.namespace)
        return None if record is None else record[0]

    async def _look_up(self, key: BlobKey, asked_for: bool) -> SyncStatus | None:
        status = await self._status(key)
        if status is SyncStatus.PENDING_DELETE:
            raise DeletedMeanwhile(f"{describe(key.blob_id, key.namespace)} is being deleted")
        if status is None and not asked_for:
            raise DeletedMeanwhile.of(key.blob_id, key.namespace)
        return status

    async def _download_verified(self, key: BlobKey, place: Place, report: Progress) -> None:
        attempt = self._download_with_others if self._stream is not None else self._download_alone
        was_replaced = False
        while True:
            try:
                await attempt(key, place, report)
                return
            except InvalidBlob as error:
                # Nobody's fault, if it happens once. A server could go on with it for ever.
                if isinstance(error, ReplacedMeanwhile) and not was_replaced:
                    was_replaced = True
                else:
                    await self._count_failure(key, error)
            # What does not verify is in nobody's way the next time.
            attempt = self._download_alone

    async def _count_failure(self, key: BlobKey, error: InvalidBlob) -> None:
        failures = await self._store.increment_retries(key.blob_id, key.namespace)
        if failures >= self._attempts():
            await self._store.update_sync_status(
                key.blob_id, SyncStatus.FAILED_DOWNLOAD, key.namespace
            )
            raise _given_up(key, failures, error) from error

    async def _download_alone(
        self, key: BlobKey, place: Place, report: Progress, replace: bool = False
    ) -> None:
        async with self._permits.hold(place):
            staged = self._store.stage(key.blob_id, key.namespace, replace)
            await self._remote.download(key.blob_id, staged, key.namespace, report)

    async def _download_with_others(self, key: BlobKey, place: Place, report: Progress) -> None:
        if await self._bundlers.transfer("get", key, place, report):
            return
        if await self._look_up(key, asked_for=False) in UNAVAILABLE_STATUSES:
            await self._download_alone(key, place, report)

    async def _carry(self, namespace: str, passengers: list[Passenger]) -> None:
        assert self._stream is not None
        by_id = {passenger.key.blob_id: passenger for passenger in passengers}

        def ended(blob_id: str, outcome: BaseException | int | None) -> None:
            passenger = by_id[blob_id]
            if isinstance(outcome, int):
                passenger.report(outcome, outcome)
                passenger.arrive(Outcome.DONE)
            else:
                passenger.arrive(Outcome.ALONE if outcome is None else outcome)

        def stage(blob_id: str, namespace: str) -> IStagedBlob:
            return _Unless(by_id[blob_id].arrived, self._store.stage(blob_id, namespace))

        await self._stream.download_many(list(by_id), stage, ended, namespace)

    async def _restore(self, key: BlobKey, before: SyncStatus | None) -> None:
        if before is None:
            await self._store.forget(key.blob_id, key.namespace)
        elif before is SyncStatus.FAILED_DOWNLOAD:
            await self._store.update_sync_status(key.blob_id, before, key.namespace)


def _given_up(key: BlobKey, failures: int, error: InvalidBlob) -> MaximumRetriesError:
    what = describe(key.blob_id, key.namespace)
    return MaximumRetriesError(f"get {what}: it did not verify in {failures} attempts; {error}")


@implementer(IStagedBlob)
class _Unless:
    """A staged blob that is not published once nobody waits for it any more."""

    def __init__(self, arrived: Deferred[Any], staged: IStagedBlob) -> None:
        self._arrived = arrived
        self._staged = staged

    def write(self, data: bytes | bytearray | memoryview) -> Deferred[None] | None:
        return None if self._arrived.called else self._staged.write(data)

    def publish(
        self,
        preamble: bytes,
        external: bool = False,
        tag: bytes | None = None,
        sealed_size: int = 0,
    ) -> Deferred[None]:
        if not self._arrived.called:
            return self._staged.publish(preamble, external, tag, sealed_size)
        return self._staged.discard().addCallback(lambda _: fail(CancelledError()))

    def discard(self) -> Deferred[None]:
        return self._staged.discard()
