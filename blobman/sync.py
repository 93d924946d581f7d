"""
Which blobs have to move between the store and the server, and in what order.

Knows the two by their interfaces only.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import cached_property, partial
from typing import Any, TypeAlias, TypeVar

from twisted.internet.defer import Deferred, ensureDeferred, succeed
from twisted.internet.interfaces import IReactorTime

from .comparing import Comparer, Differences
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
from .namespaces import find_namespaces, sync_each
from .results import Account, SyncResult, with_result
from .transfers.deletions import Deleter
from .transfers.downloads import Downloader
from .transfers.operations import Operations, in_parallel, together
from .transfers.permits import Permits, Place
from .transfers.progress import Reporter
from .transfers.requests import Requests
from .transfers.retry import Jitter, ends_run
from .transfers.runs import PAGE_SIZE, LookAgain, Page, TransferRun, pages_of
from .transfers.sharing import Start, Transfers
from .transfers.uploads import NewPreamble, Uploader

T = TypeVar("T")

Transferring: TypeAlias = "Deferred[None] | Coroutine[Deferred[Any], Any, None]"

Work = Callable[[Account], Coroutine[Deferred[Any], Any, "BaseException | None"]]
"""Enters what it does in an account. Returns the first error of a blob that could not be moved."""

Attempt = Callable[[BlobKey, int, int], Transferring]
"""Transfers a blob, of this priority and age."""

Transfer = Callable[[BlobKey, Place, Progress], Transferring]
"""Transfers a blob, waiting for its permit in the place given."""


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
    :cvar concurrent_transfers_limit: how many blobs are transferred at a time; and how many
        requests that transfer none (lists, flags, deletions) are made at a time, besides.
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
        :param jitter: see :func:`blobman.transfers.retry.retry_delay`.
        :param new_preamble: see :class:`blobman.transfers.uploads.Uploader`.
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
        permits = Permits(lambda: self.concurrent_transfers_limit)
        self._requests = Requests(permits, clock, jitter)

    def _limit_changed(self) -> None:
        if "_requests" in vars(self):
            self._transfers.permits.limit_changed()
            self._requests.permits.limit_changed()

    # -- the public operations ---------------------------------------------------------

    def sync(self, namespace: str | None = "") -> Deferred[SyncResult]:
        """
        Bring store and server into step.

        The server's tombstones are applied, and the lists compared. Then our pending deletions are
        sent, what is missing here is fetched, what has been used again is replaced, and what is
        missing there is sent, all at the same time. What fails for a reason that may pass is tried
        again, ten times in all, and holds up nothing else: another ``sync`` of the namespace
        compares and transfers meanwhile.

        :param namespace: None for all that ``namespaces`` finds, and the default one.
        :return: fires with a :class:`SyncResult` when all has moved. What did not verify, or was
            refused, in an earlier one is left alone; the result lists it. Fails after the rest
            has moved with the first error of a blob that could not: ``RetriableTransferError``
            (it is left for the next one), ``MaximumRetriesError``, ``BlobNotFoundError`` (gone
            meanwhile), ``BlobAlreadyExistsError`` (another blob has the id),
            ``QuotaExceededError``, ``ServerError``. Fails at once with ``UnauthorizedError``,
            ``CertificateError`` or ``StoreFullError``. What has been done all the same is in the
            ``result`` of the error.
        """
        sync = partial(self._accounted, self._sync)

        async def sync_all() -> SyncResult:
            found = await find_namespaces(self._store(), self._remote(), self._requests)
            return await sync_each(sorted({"", *found}), sync, self._transfers.permits.held_back)

        if namespace is None:
            return self._operations.begin(sync_all)
        return self._begin(namespace, sync)

    def send_missing(self, namespace: str = "") -> Deferred[SyncResult]:
        """
        Upload what is PENDING_UPLOAD.

        :return: as ``sync``.
        """
        return self._begin(namespace, partial(self._accounted, self._send_missing))

    def fetch_missing(self, namespace: str = "") -> Deferred[SyncResult]:
        """
        Download what is PENDING_DOWNLOAD.

        :return: as ``sync``.
        """
        return self._begin(namespace, partial(self._accounted, self._fetch_missing))

    def refresh_sync_status_from_server(self, namespace: str = "") -> Deferred[None]:
        """
        Compare the lists, and note in the statuses what has to move. Nothing is transferred.

        Blobs of which the server has a tombstone go away here: else they would seem lost there.

        :return: fires with None.
        """

        async def work(place: str) -> None:
            await self._compare(place)

        return self._begin(namespace, work)

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

    def _begin(
        self, namespace: str, work: Callable[[str], Coroutine[Deferred[Any], Any, T]]
    ) -> Deferred[T]:
        """Begin what needs a store and a server."""

        async def check_and_work() -> T:
            place = check_namespace(namespace)
            self._store()
            self._remote()
            return await work(place)

        return self._operations.begin(check_and_work)

    async def _accounted(self, work: Work, namespace: str) -> SyncResult:
        """Do some work, and say what has been done, whether it succeeds or fails."""
        account = Account(namespace)
        try:
            error = await work(account)
            for status in (SyncStatus.FAILED_UPLOAD, SyncStatus.FAILED_DOWNLOAD):
                failed = await self._store().list_status(status, namespace)
                account.note_left_alone(status, failed)
            if error is not None:
                raise error
        except BlobError as failure:
            raise with_result(failure, account.close()) from failure.__cause__
        return account.close()

    # -- comparing ---------------------------------------------------------------------

    async def _compare(self, namespace: str) -> Differences:
        """Compare the lists, and find out which blobs of ours got through earlier."""
        found = await self._comparer.compare(namespace)
        await in_parallel(
            self.concurrent_transfers_limit,
            (BlobKey(namespace, blob_id) for blob_id in found.unsettled),
            lambda key: self._transfers.share(
                key, "settle", Priority.DEFAULT, partial(self._settle, key)
            ),
        )
        return found

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

    async def _sync(self, account: Account) -> BaseException | None:
        found = await self._compare(account.namespace)
        account.deleted += found.deleted
        errors = await together(
            [
                self._send_deletions(account),
                self._replace(found.used_again, account),
                self._fetch_missing(account),
                self._send_missing(account),
            ],
            self._transfers.permits.held_back,
        )
        return next(filter(None, errors), None)

    async def _send_missing(self, account: Account) -> BaseException | None:
        return await self._run(SyncStatus.PENDING_UPLOAD, account, self._upload_or_fail)

    async def _fetch_missing(self, account: Account) -> BaseException | None:
        attempt = partial(self._download, asked_for=False)
        return await self._run(SyncStatus.PENDING_DOWNLOAD, account, attempt)

    async def _send_deletions(self, account: Account) -> BaseException | None:
        others: list[BlobKey] = []

        async def resume(key: BlobKey, place: Place) -> None:
            if await self._deleter.resume(key, place.priority):
                others.append(key)
                # The run counts its success.
                account.deleted -= 1

        def attempt(key: BlobKey, priority: int, age: int) -> Deferred[None]:
            return self._transfers.share(key, "delete", priority, partial(resume, key), age)

        error = await self._run(SyncStatus.PENDING_DELETE, account, attempt)
        # What has been found to be another blob may have come too late for the other run.
        fetching = await self._fetch_missing(account) if others else None
        return error or fetching

    async def _replace(self, blob_ids: list[str], account: Account) -> BaseException | None:
        """Fetch what the server has under ids that were used again, where it is another blob."""

        async def compare_and_replace(key: BlobKey, place: Place) -> None:
            if await self._downloader.is_outdated(key, place):
                await self._reporting(self._downloader.replace, key, "download")(place)
            else:
                account.fetched -= 1

        def attempt(key: BlobKey, priority: int, age: int) -> Deferred[None]:
            replace = partial(compare_and_replace, key)
            return self._transfers.share(key, "replace", priority, replace, age)

        return await self._run_pages(SyncStatus.SYNCED, pages_of(blob_ids), account, attempt)

    async def _run(
        self, status: SyncStatus, account: Account, attempt: Attempt
    ) -> BaseException | None:
        page = partial(self._store().next_transfers, status, account.namespace, PAGE_SIZE)
        look_again = self._transfers.watch_cancellations()
        return await self._run_pages(status, page, account, attempt, look_again)

    async def _run_pages(
        self,
        status: SyncStatus,
        page: Page,
        account: Account,
        attempt: Attempt,
        look_again: LookAgain = lambda: succeed(False),
    ) -> BaseException | None:
        age = self._transfers.permits.new_age()

        def attempt_at(queued: QueuedTransfer) -> Deferred[None]:
            key = BlobKey(account.namespace, queued.blob_id)
            return ensureDeferred(attempt(key, queued.priority, age))

        def ended(queued: QueuedTransfer, error: BaseException | None) -> None:
            account.note(status, queued.blob_id, error)

        run = TransferRun(self._clock, self._jitter, page, attempt_at, look_again, ended)
        return await run.run()

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
            self._comparer.note_uploaded,
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
        note_deleted = self._comparer.note_deleted
        return Deleter(self._store(), self._remote(), self._requests, note_deleted)

    @cached_property
    def _comparer(self) -> Comparer:
        return Comparer(self._store(), self._remote(), self._requests)
