"""
Which blobs have to move between the store and the server, and in what order.

Knows the two by their interfaces only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime

from .errors import (
    BlobAlreadyExistsError,
    BlobNotFoundError,
    InvalidBlob,
    MaximumRetriesError,
    NotConfiguredError,
    QuotaExceededError,
    describe,
)
from .interfaces import IBlobStore, IRemote, ITransferObserver, Progress, no_progress
from .model import (
    UNAVAILABLE_STATUSES,
    BlobKey,
    Priority,
    QueuedTransfer,
    SyncStatus,
    check_namespace,
)
from .operations import Operations, in_parallel
from .progress import Reporter
from .retry import Jitter
from .runs import PAGE_SIZE, Attempt, TransferRun
from .transfers import Transfers


class _OwnChanges:
    """What this manager changed on the server while lists of it were on their way here."""

    def __init__(self) -> None:
        self.uploaded: set[str] = set()
        self.deleted: set[str] = set()


class BlobsSynchronizer:
    """
    Keeps a store and a server in step.

    Every method returns a Deferred, which can be cancelled: what has been transferred stays, what
    has not is as before, and its connection is closed. Each can fail with ``ValueError`` or
    ``TypeError`` (a wrong argument, named), ``NotConfiguredError``, ``ClosedError`` or
    ``StoreError``, and with ``UnauthorizedError``, ``CertificateError``, ``RetriableTransferError``
    or ``ServerError`` where it asks the server.

    :cvar max_decrypt_retries: how often a blob that does not verify is downloaded in all.
    :cvar concurrent_transfers_limit: how many blobs are transferred at a time.
    :ivar local: the store, or None.
    """

    max_decrypt_retries = 3
    concurrent_transfers_limit = 3

    local: IBlobStore | None

    def __init__(
        self,
        local: IBlobStore | None,
        server: IRemote | None,
        clock: IReactorTime,
        jitter: Jitter,
        observer: ITransferObserver | None = None,
    ) -> None:
        """
        Nothing is under way.

        :param clock: for the time between attempts.
        :param jitter: see :func:`blobman.retry.retry_delay`.
        :param observer: is told of every transfer.
        """
        self.local = local
        self._server = server
        self._clock = clock
        self._jitter = jitter
        self._observer = observer
        self._operations = Operations()
        self._transfers = Transfers(lambda: self.concurrent_transfers_limit)
        self._locks: dict[str, DeferredLock] = {}
        self._own_changes: dict[str, list[_OwnChanges]] = {}

    # -- the public operations ---------------------------------------------------------

    def sync(self, namespace: str = "") -> Deferred[None]:
        """
        Bring store and server into step.

        The server's tombstones are applied, our pending deletions sent, the lists compared; then
        what is missing here is fetched, and what is missing there is sent. Transfers that fail for
        a reason that may pass are tried again, for as long as it takes.

        :return: fires with None when all has moved. Fails after the rest has moved with the first
            error of a blob that could not: ``MaximumRetriesError``, ``BlobNotFoundError`` (gone
            meanwhile), ``BlobAlreadyExistsError`` (another blob has the id),
            ``QuotaExceededError``, ``ServerError``. Fails at once with ``UnauthorizedError`` or
            ``CertificateError``.
        """

        async def work() -> None:
            deletion = await self._refresh(namespace, send_deletions=True)
            fetching = await self._fetch_missing(namespace)
            sending = await self._send_missing(namespace)
            _raise_first(deletion, fetching, sending)

        return self._exclusively(namespace, work)

    def send_missing(self, namespace: str = "") -> Deferred[None]:
        """
        Upload what is PENDING_UPLOAD.

        :return: as ``sync``.
        """

        async def work() -> None:
            _raise_first(await self._send_missing(namespace))

        return self._exclusively(namespace, work)

    def fetch_missing(self, namespace: str = "") -> Deferred[None]:
        """
        Download what is PENDING_DOWNLOAD.

        :return: as ``sync``.
        """

        async def work() -> None:
            _raise_first(await self._fetch_missing(namespace))

        return self._exclusively(namespace, work)

    def refresh_sync_status_from_server(self, namespace: str = "") -> Deferred[None]:
        """
        Compare the lists, and note in the statuses what has to move. Nothing is transferred.

        Blobs of which the server has a tombstone go away here: else they would seem lost there.

        :return: fires with None.
        """

        async def work() -> None:
            await self._refresh(namespace, send_deletions=False)

        return self._exclusively(namespace, work)

    @property
    def sync_progress(self) -> Deferred[dict[str, int]]:
        """
        How many blobs have each status, in all namespaces.

        :return: a Deferred that fires with the names of the statuses that occur, such as
            ``{"SYNCED": 2, "PENDING_UPLOAD": 1}``.
        """

        async def work() -> dict[str, int]:
            return await self._store().get_sync_progress(None)

        return self._operations.begin(work)

    # -- parts -------------------------------------------------------------------------

    def _store(self) -> IBlobStore:
        if self.local is None:
            raise NotConfiguredError("there is no local store: local_path was not given")
        return self.local

    def _remote(self) -> IRemote:
        if self._server is None:
            raise NotConfiguredError("there is no server: remote was not given")
        return self._server

    def _exclusively(
        self, namespace: str, work: Callable[[], Coroutine[Deferred[Any], Any, None]]
    ) -> Deferred[None]:
        """One at a time for each namespace."""

        async def wait_and_work() -> None:
            check_namespace(namespace)
            self._store()
            self._remote()
            lock = self._locks.setdefault(namespace, DeferredLock())
            await lock.acquire()
            try:
                await work()
            finally:
                lock.release()
                if not lock.locked and not lock.waiting:
                    self._locks.pop(namespace, None)

        return self._operations.begin(wait_and_work)

    # -- comparing ---------------------------------------------------------------------

    async def _refresh(self, namespace: str, send_deletions: bool) -> BaseException | None:
        store, remote = self._store(), self._remote()
        async with self._watch_changes(namespace) as own:
            # In this order: what another client deletes between the two answers is still listed
            # in the first, and so is not taken for lost on the server.
            listed = set(await remote.list(namespace))
            tombstones = set(await remote.list(namespace, deleted=True))
            error = await self._send_deletions(namespace) if send_deletions else None
            listed = (listed | own.uploaded) - own.deleted
            await store.apply_tombstones(tombstones - listed, listed, namespace)
            listed = (listed | own.uploaded) - own.deleted
            unsettled = await store.apply_remote_list(listed, namespace)
        await in_parallel(
            self.concurrent_transfers_limit,
            (BlobKey(namespace, blob_id) for blob_id in unsettled),
            lambda key: self._transfers.share(key, Priority.DEFAULT, lambda: self._settle(key)),
        )
        return error

    @asynccontextmanager
    async def _watch_changes(self, namespace: str) -> AsyncIterator[_OwnChanges]:
        changes = _OwnChanges()
        watchers = self._own_changes.setdefault(namespace, [])
        watchers.append(changes)
        try:
            yield changes
        finally:
            watchers.remove(changes)
            if not watchers:
                self._own_changes.pop(namespace, None)

    def _note_uploaded(self, key: BlobKey) -> None:
        for changes in self._own_changes.get(key.namespace, ()):
            changes.uploaded.add(key.blob_id)
            changes.deleted.discard(key.blob_id)

    def _note_deleted(self, key: BlobKey) -> None:
        for changes in self._own_changes.get(key.namespace, ()):
            changes.deleted.add(key.blob_id)
            changes.uploaded.discard(key.blob_id)

    async def _settle(self, key: BlobKey) -> None:
        """Find out whether the blob of ours that the server lists is one that we sent."""
        store, remote = self._store(), self._remote()
        payload = await store.open_payload(key.blob_id, key.namespace)
        if payload is None:
            return
        try:
            ours = await remote.holds(key.blob_id, payload, key.namespace)
        except BlobNotFoundError:
            return
        if ours:
            await self._set_status(key, SyncStatus.SYNCED)

    async def _set_status(self, key: BlobKey, status: SyncStatus) -> None:
        await self._store().update_sync_status(key.blob_id, status, key.namespace)

    # -- runs --------------------------------------------------------------------------

    async def _send_missing(self, namespace: str) -> BaseException | None:
        def attempt(queued: QueuedTransfer, release: Callable[[], None]) -> Deferred[None]:
            key = BlobKey(namespace, queued.blob_id)
            return self._share_upload(key, queued.priority, release, self._upload_or_fail)

        return await self._run(SyncStatus.PENDING_UPLOAD, namespace, attempt)

    async def _fetch_missing(self, namespace: str) -> BaseException | None:
        def attempt(queued: QueuedTransfer, release: Callable[[], None]) -> Deferred[None]:
            key = BlobKey(namespace, queued.blob_id)
            return self._share_download(key, queued.priority, release)

        return await self._run(SyncStatus.PENDING_DOWNLOAD, namespace, attempt)

    async def _send_deletions(self, namespace: str) -> BaseException | None:
        def attempt(queued: QueuedTransfer, release: Callable[[], None]) -> Deferred[None]:
            deleting = Deferred.fromCoroutine(
                self._complete_delete(BlobKey(namespace, queued.blob_id))
            )
            return deleting.addBoth(_afterwards, release)

        return await self._run(SyncStatus.PENDING_DELETE, namespace, attempt)

    async def _run(
        self, status: SyncStatus, namespace: str, attempt: Attempt
    ) -> BaseException | None:
        store = self._store()

        def page(after: QueuedTransfer | None) -> Deferred[list[QueuedTransfer]]:
            return store.next_transfers(status, namespace, PAGE_SIZE, after)

        run = TransferRun(self._clock, self._transfers.permits, self._jitter, page, attempt)
        return await run.run()

    async def _complete_delete(self, key: BlobKey) -> bool:
        """
        Delete a blob that is PENDING_DELETE, there and then here.

        :return: whether either had it.
        """
        there = True
        try:
            await self._remote().delete(key.blob_id, key.namespace)
        except BlobNotFoundError:
            there = False
        self._note_deleted(key)
        here = await self._store().delete(key.blob_id, key.namespace)
        return here or there

    # -- one transfer ------------------------------------------------------------------

    def _share_upload(
        self,
        key: BlobKey,
        priority: int,
        release: Callable[[], None] | None,
        upload: Callable[[BlobKey, Progress], Coroutine[Deferred[Any], Any, None]],
    ) -> Deferred[None]:
        return self._share(key, priority, release, "upload", lambda report: upload(key, report))

    def _share_download(
        self, key: BlobKey, priority: int, release: Callable[[], None] | None = None
    ) -> Deferred[None]:
        def download(report: Progress) -> Coroutine[Deferred[Any], Any, None]:
            return self._download(key, Priority(priority), report)

        return self._share(key, priority, release, "download", download)

    def _share(
        self,
        key: BlobKey,
        priority: int,
        release: Callable[[], None] | None,
        direction: str,
        transfer: Callable[[Progress], Coroutine[Deferred[Any], Any, None]],
    ) -> Deferred[None]:
        if self._observer is None:
            return self._transfers.share(key, priority, lambda: transfer(no_progress), release)
        reporter = Reporter(self._clock, self._observer, key, direction)
        return self._transfers.share(
            key, priority, lambda: reporter.follow(transfer(reporter)), release
        )

    async def _upload_or_fail(self, key: BlobKey, report: Progress) -> None:
        """Upload; without space on the server, it is for the application to make some."""
        try:
            await self._upload(key, report)
        except QuotaExceededError:
            await self._set_status(key, SyncStatus.FAILED_UPLOAD)
            raise

    async def _upload(self, key: BlobKey, report: Progress) -> None:
        store, remote = self._store(), self._remote()
        record = await store.get_sync_status(key.blob_id, key.namespace)
        if record is None or record[0] is not SyncStatus.PENDING_UPLOAD:
            return
        payload = await store.open_payload(key.blob_id, key.namespace)
        if payload is None:
            return
        try:
            await remote.upload(key.blob_id, payload, key.namespace, report)
        except BlobAlreadyExistsError:
            if not await remote.holds(key.blob_id, payload, key.namespace):
                await self._set_status(key, SyncStatus.FAILED_UPLOAD)
                raise
        self._note_uploaded(key)
        await self._set_status(key, SyncStatus.SYNCED)

    async def _download(self, key: BlobKey, priority: Priority, report: Progress) -> None:
        store = self._store()
        record = await store.get_sync_status(key.blob_id, key.namespace)
        before = None if record is None else record[0]
        if before is SyncStatus.PENDING_DELETE:
            raise BlobNotFoundError(f"{describe(key.blob_id, key.namespace)} is being deleted")
        if before is not None and before not in UNAVAILABLE_STATUSES:
            return
        if before is not SyncStatus.PENDING_DOWNLOAD:
            await store.update_sync_status(
                key.blob_id, SyncStatus.PENDING_DOWNLOAD, key.namespace, priority
            )
        try:
            await self._download_verified(key, report)
        except BlobNotFoundError:
            await store.forget(key.blob_id, key.namespace)
            raise
        except CancelledError:
            await self._restore(key, before)
            raise

    async def _download_verified(self, key: BlobKey, report: Progress) -> None:
        store, remote = self._store(), self._remote()
        while True:
            staged = store.stage(key.blob_id, key.namespace)
            try:
                await remote.download(key.blob_id, staged, key.namespace, report)
                return
            except InvalidBlob as error:
                failures = await store.increment_retries(key.blob_id, key.namespace)
                if failures >= self.max_decrypt_retries:
                    await self._set_status(key, SyncStatus.FAILED_DOWNLOAD)
                    raise MaximumRetriesError(
                        f"get {describe(key.blob_id, key.namespace)}: it did not verify in "
                        f"{failures} attempts"
                    ) from error

    async def _restore(self, key: BlobKey, before: SyncStatus | None) -> None:
        if before is None:
            await self._store().forget(key.blob_id, key.namespace)
        elif before is SyncStatus.FAILED_DOWNLOAD:
            await self._set_status(key, before)


def _raise_first(*errors: BaseException | None) -> None:
    for error in errors:
        if error is not None:
            raise error


def _afterwards(result: Any, release: Callable[[], None]) -> Any:
    release()
    return result
