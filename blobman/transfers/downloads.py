"""One download: alone, or with other blobs in one request; verified, or tried again."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, NamedTuple

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
from .bundles import Bundle, Bundles, Outcome
from .permits import Permits
from .transfer import Next, Transfer, Transferring

BUNDLE_LIMIT = 64
"""How many blobs come down in one request at most."""


class _Wish(NamedTuple):
    """
    Why a blob is downloaded.

    :ivar asked_for: whether it is wanted though it was not PENDING_DOWNLOAD.
    :ivar before: its status before; None if nothing was recorded of it.
    """

    asked_for: bool
    before: SyncStatus | None


_FOUND = _Wish(False, SyncStatus.PENDING_DOWNLOAD)
"""A run has found it."""


class Downloader:
    """Fetches what is not here, and records what became of it."""

    def __init__(
        self,
        store: IBlobStore,
        remote: IRemote,
        stream: IRemoteStream | None,
        permits: Permits,
        attempts: Callable[[], int],
        stage: Callable[..., IStagedBlob] | None = None,
    ) -> None:
        """
        Nothing is under way.

        :param stream: None if every blob comes alone.
        :param attempts: says how often a blob that does not verify is downloaded in all.
        :param stage: begins to receive a blob, as the store's own does; None for that.
        """
        self._store = store
        self._remote = remote
        self._stream = stream
        self._permits = permits
        self._attempts = attempts
        self._stage = store.stage if stage is None else stage
        self._bundles = Bundles(permits, self._carry, BUNDLE_LIMIT, "get")

    def start(self, transfer: Transfer, asked_for: bool) -> Transferring | None:
        """
        Download a blob, if it is not here yet.

        The transfer fails with ``BlobNotFoundError``: the server does not have it, or it is being
        deleted; nothing is recorded of it any more; ``MaximumRetriesError``: it does not verify; it
        is FAILED_DOWNLOAD now; or with what else the server or the store said; it is
        PENDING_DOWNLOAD.

        :param asked_for: whether it is wanted though it is not PENDING_DOWNLOAD.
        """
        # What a run found just now is not looked up one by one again, as long as it costs little
        # to download it for nothing: the store takes what is still wanted, and nothing else.
        if asked_for or self._stream is None:
            return self._look_up_and_download(transfer, asked_for)
        self._bundles.add(transfer, self._arrived)
        return None

    async def _look_up_and_download(self, transfer: Transfer, asked_for: bool) -> Next:
        before = await self._look_up(transfer.key, asked_for)
        if before is not None and before not in UNAVAILABLE_STATUSES:
            return None
        wish = _Wish(asked_for, before)
        await self._recording(transfer, wish, self._make_pending(transfer, before))
        if self._stream is not None:
            return partial(self._bundles.add, transfer, partial(self._arrived, wish=wish))
        await self._recording(transfer, wish, self._download_verified(transfer))
        return None

    async def _make_pending(self, transfer: Transfer, before: SyncStatus | None) -> None:
        if before is not SyncStatus.PENDING_DOWNLOAD:
            key, urgency = transfer.key, Priority(transfer.priority)
            await self._store.update_sync_status(
                key.blob_id, SyncStatus.PENDING_DOWNLOAD, key.namespace, urgency
            )

    def _arrived(
        self, transfer: Transfer, outcome: Outcome | BaseException, wish: _Wish = _FOUND
    ) -> None:
        if outcome is Outcome.DONE:
            transfer.end()
        else:
            transfer.follow(self._recording(transfer, wish, self._go_on(transfer, outcome)))

    async def _go_on(self, transfer: Transfer, outcome: Outcome | BaseException) -> None:
        """Do what is left to do for one that went along with others."""
        if isinstance(outcome, InvalidBlob):
            # What does not verify is in nobody's way the next time.
            await self._download_verified(transfer, outcome)
        elif isinstance(outcome, BaseException):
            raise outcome
        elif await self._look_up(transfer.key, asked_for=False) in UNAVAILABLE_STATUSES:
            await self._download_verified(transfer)

    async def _recording(
        self, transfer: Transfer, wish: _Wish, work: Coroutine[Deferred[Any], Any, None]
    ) -> None:
        """Do a part of a download; if it fails, record what that means."""
        key, store = transfer.key, self._store
        try:
            await work
        except BlobNotFoundError:
            if not wish.asked_for:
                # The server has it no more because it was deleted from here, perhaps.
                await self._look_up(key, wish.asked_for)
            await store.forget(key.blob_id, key.namespace)
            raise
        except IllegalStatusChange as error:
            if await store.exists(key.blob_id, key.namespace):
                return
            raise DeletedMeanwhile.of(key.blob_id, key.namespace) from error
        except CancelledError:
            await self._restore(key, wish.before)
            raise

    async def is_outdated(self, transfer: Transfer) -> bool:
        """
        Find out whether the server has another blob than the one that is SYNCED here.

        If it has any, the tombstone that it has of the id, too, is older: that is noted.

        :raise BlobError: as asking the server, or reading the copy, does.
        """
        key = transfer.key
        if await self._status(key) is not SyncStatus.SYNCED:
            return False
        payload = await self._store.open_payload(key.blob_id, key.namespace)
        if payload is None:
            return False
        async with self._permits.hold(transfer):
            try:
                tag = await self._remote.compare(key.blob_id, payload, key.namespace)
            except BlobNotFoundError:
                # It was deleted just now, which the next comparison finds out.
                return False
        await self._store.note_older_tombstone(key.blob_id, key.namespace)
        if tag is not None:
            await self._store.record_tag(key.blob_id, tag, key.namespace)
        return tag is None

    async def replace(self, transfer: Transfer, report: Progress) -> None:
        """
        Replace a copy that is SYNCED by what the server has; it stays until that has come.

        :raise MaximumRetriesError: what the server has does not verify.
        :raise DeletedMeanwhile: it was deleted here.
        :raise BlobError: what else the server or the store said.
        """
        try:
            await self._replace_verified(transfer, report)
        except IllegalStatusChange as error:
            raise DeletedMeanwhile.of(transfer.key.blob_id, transfer.key.namespace) from error

    async def _replace_verified(self, transfer: Transfer, report: Progress) -> None:
        failures = 0
        while (error := await self._try(transfer, report, replace=True)) is not None:
            failures += 1
            if failures >= self._attempts():
                raise _given_up(transfer.key, failures, error) from error

    async def _try(
        self, transfer: Transfer, report: Progress, replace: bool = False
    ) -> InvalidBlob | None:
        try:
            await self._download_alone(transfer, report, replace)
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

    async def _download_verified(
        self, transfer: Transfer, error: InvalidBlob | None = None
    ) -> None:
        """
        Download a blob, as often as it may be worth it.

        :param error: why it has not verified yet, if it has been downloaded already.
        """
        was_replaced = False
        while True:
            # Nobody's fault, if it happens once. A server could go on with it for ever.
            if isinstance(error, ReplacedMeanwhile) and not was_replaced:
                was_replaced = True
            elif error is not None:
                await self._count_failure(transfer.key, error)
            error = await self._try(transfer, transfer.report)
            if error is None:
                return

    async def _count_failure(self, key: BlobKey, error: InvalidBlob) -> None:
        failures = await self._store.increment_retries(key.blob_id, key.namespace)
        if failures >= self._attempts():
            await self._store.update_sync_status(
                key.blob_id, SyncStatus.FAILED_DOWNLOAD, key.namespace
            )
            raise _given_up(key, failures, error) from error

    async def _download_alone(self, transfer: Transfer, report: Progress, replace: bool) -> None:
        key = transfer.key
        async with self._permits.hold(transfer):
            staged = self._stage(key.blob_id, key.namespace, replace)
            await self._remote.download(key.blob_id, staged, key.namespace, report)

    async def _carry(self, bundle: Bundle) -> None:
        assert self._stream is not None

        def ended(blob_id: str, outcome: BaseException | int | None) -> None:
            if isinstance(outcome, int):
                if (transfer := bundle.get(blob_id)) is not None:
                    transfer.report(outcome, outcome)
                bundle.arrive(blob_id, Outcome.DONE)
            else:
                bundle.arrive(blob_id, Outcome.ALONE if outcome is None else outcome)

        def stage(blob_id: str, namespace: str) -> IStagedBlob:
            return _Unless(bundle, blob_id, self._stage(blob_id, namespace))

        ids = [transfer.key.blob_id for transfer in bundle.aboard]
        await self._stream.download_many(ids, stage, ended, bundle.namespace)

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

    def __init__(self, bundle: Bundle, blob_id: str, staged: IStagedBlob) -> None:
        self._bundle = bundle
        self._blob_id = blob_id
        self._staged = staged

    def write(self, data: bytes | bytearray | memoryview) -> Deferred[None] | None:
        return None if self._is_too_late() else self._staged.write(data)

    def publish(
        self,
        preamble: bytes,
        external: bool = False,
        tag: bytes | None = None,
        sealed_size: int = 0,
    ) -> Deferred[None]:
        if not self._is_too_late():
            return self._staged.publish(preamble, external, tag, sealed_size)
        return self._staged.discard().addCallback(lambda _: fail(CancelledError()))

    def discard(self) -> Deferred[None]:
        return self._staged.discard()

    def _is_too_late(self) -> bool:
        return self._bundle.get(self._blob_id) is None
