"""
Which blobs have to move between the store and the server, and in what order.

Knows the two by their interfaces only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import cached_property, partial
from typing import Any, TypeAlias

from twisted.internet.defer import Deferred, DeferredLock, ensureDeferred
from twisted.internet.interfaces import IReactorTime

from .deletions import Deleter
from .downloads import Downloader
from .errors import BlobError, IllegalStatusChange, NotConfiguredError, QuotaExceededError
from .interfaces import (
    IBlobStore,
    IRemote,
    IRemoteStream,
    ITransferObserver,
    Progress,
    no_progress,
)
from .limits import Limited
from .model import BlobKey, Priority, QueuedTransfer, SyncStatus, check_namespace
from .operations import Operations, in_parallel
from .progress import Reporter
from .retry import Jitter, ends_run
from .runs import PAGE_SIZE, TransferRun
from .transfers import Place, Start, Transfers
from .uploads import NewPreamble, Uploader

Transferring: TypeAlias = "Deferred[None] | Coroutine[Deferred[Any], Any, None]"

Transfer = Callable[[BlobKey, Place, Progress], Transferring]
"""Transfers a blob, waiting for its permit in the place given."""


class _OwnChanges:
    """What this manager changed on the server while lists of it were on their way here."""

    def __init__(self) -> None:
        self.uploaded: set[str] = set()
        self.deleted: set[str] = set()


class BlobsSynchronizer(Limited):
    """
    Keeps a store and a server in step.

    Every method returns a Deferred, which can be cancelled: what has been transferred stays, what
    has not is as before, and its connection is closed. Each can fail with ``ValueError`` or
    ``TypeError`` (a wrong argument, named), ``NotConfiguredError``, ``ClosedError`` or
    ``StoreError``, and with ``UnauthorizedError``, ``CertificateError``, ``RetriableTransferError``
    or ``ServerError`` where it asks the server.

    The limits can be set on the class, in a subclass, or at any time on an instance, where they
    count at once. Setting one to less than 1 raises ``ValueError``, and to anything but an ``int``
    ``TypeError``.

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
        new_preamble: NewPreamble,
        observer: ITransferObserver | None = None,
        stream: IRemoteStream | None = None,
    ) -> None:
        """
        Nothing is under way.

        :param clock: for the time between attempts.
        :param jitter: see :func:`blobman.retry.retry_delay`.
        :param new_preamble: see :class:`blobman.uploads.Uploader`.
        :param observer: is told of every transfer.
        :param stream: takes small blobs many to a request; None if each travels alone.
        """
        self._stream = stream
        self.local = local
        self._server = server
        self._clock = clock
        self._jitter = jitter
        self._new_preamble = new_preamble
        self._observer = observer
        self._operations = Operations()
        self._transfers = Transfers(lambda: self.concurrent_transfers_limit)
        self._locks: dict[str, DeferredLock] = {}
        self._own_changes: dict[str, list[_OwnChanges]] = {}

    def _limit_changed(self) -> None:
        if "_transfers" in vars(self):
            self._transfers.permits.limit_changed()

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
            lambda key: self._transfers.share(
                key, "settle", Priority.DEFAULT, partial(self._settle, key)
            ),
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

    async def _settle(self, key: BlobKey, place: Place) -> None:
        """Find out whether the blob of ours that the server lists is one that we sent."""
        async with self._transfers.permits.hold(place):
            try:
                await self._uploader.settle(key)
            except BlobError as error:
                # The others go on; sending this one will meet the same, if it has not passed.
                if ends_run(error):
                    raise

    # -- runs --------------------------------------------------------------------------

    async def _send_missing(self, namespace: str) -> BaseException | None:
        return await self._run(SyncStatus.PENDING_UPLOAD, namespace, self._upload_or_fail)

    async def _fetch_missing(self, namespace: str) -> BaseException | None:
        attempt = partial(self._download, asked_for=False)
        return await self._run(SyncStatus.PENDING_DOWNLOAD, namespace, attempt)

    async def _send_deletions(self, namespace: str) -> BaseException | None:
        async def delete(key: BlobKey, place: Place) -> None:
            async with self._transfers.permits.hold(place):
                await self._deleter.complete(key)

        def attempt(key: BlobKey, priority: int, age: int) -> Deferred[None]:
            return self._transfers.share(key, "delete", priority, partial(delete, key), age)

        return await self._run(SyncStatus.PENDING_DELETE, namespace, attempt)

    async def _run(
        self,
        status: SyncStatus,
        namespace: str,
        attempt: Callable[[BlobKey, int, int], Transferring],
    ) -> BaseException | None:
        store = self._store()
        age = self._transfers.permits.new_age()

        def page(after: QueuedTransfer | None) -> Deferred[list[QueuedTransfer]]:
            return store.next_transfers(status, namespace, PAGE_SIZE, after)

        def attempt_at(queued: QueuedTransfer) -> Deferred[None]:
            key = BlobKey(namespace, queued.blob_id)
            return ensureDeferred(attempt(key, queued.priority, age))

        return await TransferRun(self._clock, self._jitter, page, attempt_at).run()

    # -- one transfer ------------------------------------------------------------------

    def _upload(self, key: BlobKey, priority: int, age: int | None = None) -> Deferred[None]:
        start = self._reporting(self._uploader.upload, key, "upload")
        return self._transfers.share(key, "upload", priority, start, age)

    def _download(
        self, key: BlobKey, priority: int, age: int | None = None, *, asked_for: bool
    ) -> Deferred[None]:
        download = partial(self._downloader.download, asked_for=asked_for)
        start = self._reporting(download, key, "download")
        return self._transfers.share(key, "download", priority, start, age)

    def _reporting(self, transfer: Transfer, key: BlobKey, direction: str) -> Start:
        """Have the observer, if there is one, told of a transfer."""
        if self._observer is None:
            return lambda place: transfer(key, place, no_progress)
        report = Reporter(self._clock, self._observer, key, direction)
        return lambda place: report.follow(transfer(key, place, report))

    async def _upload_or_fail(self, key: BlobKey, priority: int, age: int) -> None:
        """Upload; without space on the server, it is for the application to make some."""
        try:
            await self._upload(key, priority, age)
        except QuotaExceededError:
            with suppress(IllegalStatusChange):
                await self._store().update_sync_status(
                    key.blob_id, SyncStatus.FAILED_UPLOAD, key.namespace
                )
            raise

    @cached_property
    def _uploader(self) -> Uploader:
        return Uploader(
            self._store(),
            self._remote(),
            self._stream,
            self._transfers.permits,
            self._new_preamble,
            self._note_uploaded,
        )

    @cached_property
    def _downloader(self) -> Downloader:
        return Downloader(
            self._store(),
            self._remote(),
            self._stream,
            self._transfers.permits,
            lambda: self.max_decrypt_retries,
        )

    @cached_property
    def _deleter(self) -> Deleter:
        return Deleter(self._store(), self._remote(), self._note_deleted)


def _raise_first(*errors: BaseException | None) -> None:
    for error in errors:
        if error is not None:
            raise error
