"""
Which blobs have to move between the store and the server, and in what order.

Knows the two by their interfaces only.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import cached_property, partial
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, succeed

from .comparing import Comparer, Differences
from .errors import BlobError
from .interfaces import IBlobStore
from .limits import Limited
from .model import BlobKey, QueuedTransfer, SyncStatus, check_namespace
from .namespaces import find_namespaces, sync_each
from .results import Account, SyncResult, with_result
from .transfers.engine import Attempt, Engine
from .transfers.runs import PAGE_SIZE, LookAgain, Page, pages_of

T = TypeVar("T")

Work = Callable[[Account], Coroutine[Deferred[Any], Any, "BaseException | None"]]
"""Enters what it does in an account. Returns the first error of a blob that could not be moved."""


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

    def __init__(self, engine: Engine) -> None:
        """
        Nothing is under way.

        :param engine: moves the blobs.
        """
        self.local = engine.local
        self.__engine = engine

    def _limit_changed(self) -> None:
        try:
            engine = self.__engine
        except AttributeError:
            # A limit that a subclass sets first of all: nothing waits yet.
            return
        engine.limit_changed()

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
            found = await find_namespaces(
                self.__engine.need_store(), self.__engine.need_remote(), self.__engine.requests
            )
            return await sync_each(sorted({"", *found}), sync, self.__engine.held_back)

        if namespace is None:
            return self.__engine.begin(sync_all)
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
            return await self.__engine.need_store().get_sync_progress(None)

        return self.__engine.begin(work)

    # -- parts -------------------------------------------------------------------------

    def _begin(
        self, namespace: str, work: Callable[[str], Coroutine[Deferred[Any], Any, T]]
    ) -> Deferred[T]:
        """Begin what needs a store and a server."""

        async def check_and_work() -> T:
            place = check_namespace(namespace)
            self.__engine.need_store()
            self.__engine.need_remote()
            return await work(place)

        return self.__engine.begin(check_and_work)

    async def _accounted(self, work: Work, namespace: str) -> SyncResult:
        """Do some work, and say what has been done, whether it succeeds or fails."""
        account = Account(namespace)
        try:
            error = await work(account)
            for status in (SyncStatus.FAILED_UPLOAD, SyncStatus.FAILED_DOWNLOAD):
                failed = await self.__engine.need_store().list_status(status, namespace)
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
        await self.__engine.settle(BlobKey(namespace, blob_id) for blob_id in found.unsettled)
        return found

    # -- runs --------------------------------------------------------------------------

    async def _sync(self, account: Account) -> BaseException | None:
        found = await self._compare(account.namespace)
        account.deleted += found.deleted
        errors = await self.__engine.together(
            [
                self._send_deletions(account),
                self._replace(found.used_again, account),
                self._fetch_missing(account),
                self._send_missing(account),
            ]
        )
        return next(filter(None, errors), None)

    async def _send_missing(self, account: Account) -> BaseException | None:
        return await self._run(SyncStatus.PENDING_UPLOAD, account, self.__engine.upload_or_fail)

    async def _fetch_missing(self, account: Account) -> BaseException | None:
        attempt = partial(self.__engine.download, asked_for=False)
        return await self._run(SyncStatus.PENDING_DOWNLOAD, account, attempt)

    async def _send_deletions(self, account: Account) -> BaseException | None:
        others: list[BlobKey] = []

        def attempt(key: BlobKey, priority: int, age: int) -> Deferred[None]:
            def is_another() -> None:
                others.append(key)
                # The run counts its success.
                account.deleted -= 1

            return self.__engine.resume_deletion(key, priority, age, is_another)

        error = await self._run(SyncStatus.PENDING_DELETE, account, attempt)
        # What has been found to be another blob may have come too late for the other run.
        fetching = await self._fetch_missing(account) if others else None
        return error or fetching

    async def _replace(self, blob_ids: list[str], account: Account) -> BaseException | None:
        """Fetch what the server has under ids that were used again, where it is another blob."""

        def is_the_same() -> None:
            # The run counts its success.
            account.fetched -= 1

        def attempt(key: BlobKey, priority: int, age: int) -> Deferred[None]:
            return self.__engine.replace(key, priority, age, is_the_same)

        return await self._run_pages(SyncStatus.SYNCED, pages_of(blob_ids), account, attempt)

    async def _run(
        self, status: SyncStatus, account: Account, attempt: Attempt
    ) -> BaseException | None:
        page = partial(
            self.__engine.need_store().next_transfers, status, account.namespace, PAGE_SIZE
        )
        look_again = self.__engine.watch_cancellations()
        return await self._run_pages(status, page, account, attempt, look_again)

    async def _run_pages(
        self,
        status: SyncStatus,
        page: Page,
        account: Account,
        attempt: Attempt,
        look_again: LookAgain = lambda: succeed(False),
    ) -> BaseException | None:
        def ended(queued: QueuedTransfer, error: BaseException | None) -> None:
            account.note(status, queued.blob_id, error)

        return await self.__engine.run(account.namespace, page, attempt, ended, look_again)

    @cached_property
    def _comparer(self) -> Comparer:
        engine = self.__engine
        return Comparer(engine.need_store(), engine.need_remote(), engine.requests, engine.changes)
