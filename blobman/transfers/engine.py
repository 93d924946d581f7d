"""Everything that moves the blobs of one manager, put together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property, partial
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred, ensureDeferred, succeed
from twisted.internet.interfaces import IReactorTime

from ..document import BlobDoc
from ..errors import (
    BlobError,
    DeletedMeanwhile,
    IllegalStatusChange,
    NotConfiguredError,
    QuotaExceededError,
)
from ..interfaces import (
    IBlobStore,
    IRemote,
    IRemoteStream,
    IStagedBlob,
    ITransferObserver,
    Progress,
    no_progress,
)
from ..model import BlobKey, Priority, QueuedTransfer, SyncStatus
from .deletions import Deleter
from .downloads import Downloader
from .operations import Operations, in_parallel, together
from .own_changes import Changes
from .permits import Permits, Place
from .progress import Reporter
from .puts import Putter, new_preamble
from .requests import Requests
from .retry import Jitter, ends_run
from .runs import Ended, LookAgain, Page, TransferRun
from .sharing import Start, Transferring, Transfers
from .uploads import Uploader
from .verification import is_the_same

T = TypeVar("T")

Attempt = Callable[[BlobKey, int, int], Transferring]
"""Transfers a blob, of this priority and age."""

Transfer = Callable[[BlobKey, Place, Progress], Transferring]
"""Transfers a blob, waiting for its permit in the place given."""


class Limits(Protocol):
    """What limits an engine. Each may change at any time; see :meth:`Engine.limit_changed`."""

    @property
    def max_decrypt_retries(self) -> int:
        """How often a blob that does not verify is downloaded in all."""

    @property
    def concurrent_transfers_limit(self) -> int:
        """How many blobs are transferred at a time, and how many requests are made besides."""

    @property
    def concurrent_writes_limit(self) -> int:
        """How many blobs are written to the store at a time."""


class Engine:
    """
    Moves blobs between a store and a server.

    :ivar local: the store, or None.
    :ivar server: the server, or None.
    :ivar operations: what the application has begun.
    :ivar permits: the permits that all transfers need.
    :ivar requests: short requests to the server.
    :ivar changes: what is changed on the server.
    """

    def __init__(
        self,
        local: IBlobStore | None,
        server: IRemote | None,
        stream: IRemoteStream | None,
        clock: IReactorTime,
        jitter: Jitter,
        observer: ITransferObserver | None,
        limits: Limits,
    ) -> None:
        """
        Nothing is under way.

        :param stream: takes small blobs many to a request; None if each travels alone.
        :param clock: for the time between attempts.
        :param jitter: see :func:`.retry_delay`.
        :param observer: is told of every transfer.
        """
        self.local = local
        self.server = server
        self.operations = Operations()
        self.changes = Changes()
        self._stream = stream
        self._clock = clock
        self._jitter = jitter
        self._observer = observer
        self._limits = limits
        self._transfers = Transfers(lambda: limits.concurrent_transfers_limit)
        self.permits = self._transfers.permits
        self._putter = Putter(lambda: limits.concurrent_writes_limit)
        permits = Permits(lambda: limits.concurrent_transfers_limit)
        self.requests = Requests(permits, clock, jitter)

    def need_store(self) -> IBlobStore:
        """
        Give the store.

        :raise NotConfiguredError: there is none.
        """
        if self.local is None:
            raise NotConfiguredError("there is no local store: local_path was not given")
        return self.local

    def need_remote(self) -> IRemote:
        """
        Give the server.

        :raise NotConfiguredError: there is none.
        """
        if self.server is None:
            raise NotConfiguredError("there is no server: remote was not given")
        return self.server

    # -- what is under way -------------------------------------------------------------

    def begin(self, work: Callable[[], Coroutine[Deferred[Any], Any, T]]) -> Deferred[T]:
        """Begin what the application has asked for; see :meth:`.Operations.begin`."""
        return self.operations.begin(work)

    async def ask(self, question: Callable[[], Awaitable[T]]) -> T:
        """Ask the server before what happens in the background; see :meth:`.Requests.make`."""
        return await self.requests.make(Priority.HIGH, question)

    async def together(self, works: Iterable[Coroutine[Deferred[Any], Any, T]]) -> list[T]:
        """Do some things at the same time; see :func:`.together`."""
        return await together(works, self.held_back)

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """Begin nothing inside the context, but afterwards; see :meth:`.Permits.held_back`."""
        with ExitStack() as stack:
            for queue in (self.permits, self.requests.permits, self._putter):
                stack.enter_context(queue.held_back())
            yield

    def limit_changed(self) -> None:
        """Ask for the limits at once, rather than when what is under way ends."""
        for queue in (self.permits, self.requests.permits, self._putter):
            queue.limit_changed()

    async def close(self) -> None:
        """End what is under way, and close the connections and the store."""
        # Nothing begins any more, only to be cancelled.
        with self.held_back():
            await self.operations.close()
        if self.server is not None:
            await self.server.close()
        if self.local is not None:
            await self.local.close()

    # -- one blob ----------------------------------------------------------------------

    async def put(
        self, doc: BlobDoc, key: BlobKey, size: int, priority: Priority, local_only: bool
    ) -> None:
        """
        Store a blob, and upload it unless it is local only.

        :raise BlobError: as storing or uploading it does.
        """
        await self._putter.put(self.need_store(), doc, key, size, priority, local_only)
        if not local_only:
            self.need_remote()
            upload = partial(self.upload, key, priority, self.new_age())
            await self._putter.send(key, priority, upload)

    def upload(self, key: BlobKey, priority: int, age: int | None = None) -> Deferred[None]:
        """Upload a blob, or take part in its upload; see :meth:`.Uploader.upload`."""
        start = self._reporting(self._uploader.upload, key, "upload")
        return self._transfers.share(key, "upload", priority, start, age)

    async def upload_or_fail(self, key: BlobKey, priority: int, age: int) -> None:
        """Upload; without space on the server, it is for the application to make some."""
        try:
            await self.upload(key, priority, age)
        except QuotaExceededError:
            with suppress(IllegalStatusChange):
                await self.need_store().update_sync_status(
                    key.blob_id, SyncStatus.FAILED_UPLOAD, key.namespace
                )
            raise

    def download(
        self, key: BlobKey, priority: int, age: int | None = None, *, asked_for: bool
    ) -> Deferred[None]:
        """Download a blob, or take part in its download; see :meth:`.Downloader.download`."""
        download = partial(self._downloader.download, asked_for=asked_for)
        start = self._reporting(download, key, "download")
        return self._transfers.share(key, "download", priority, start, age)

    def replace(
        self, key: BlobKey, priority: int, age: int, is_the_same: Callable[[], object]
    ) -> Deferred[None]:
        """
        Replace a copy that is SYNCED, if the server has another blob; see :class:`.Downloader`.

        :param is_the_same: called if it has not.
        """

        async def compare_and_replace(place: Place) -> None:
            if await self._downloader.is_outdated(key, place):
                await self._reporting(self._downloader.replace, key, "download")(place)
            else:
                is_the_same()

        return self._transfers.share(key, "replace", priority, compare_and_replace, age)

    async def delete(self, key: BlobKey) -> None:
        """
        Delete a blob; its transfers are cancelled.

        :raise BlobError: see :meth:`.Deleter.delete`.
        """
        store = self.need_store()
        record = await store.get_sync_status(key.blob_id, key.namespace)
        if record is not None and record[0] is SyncStatus.LOCAL_ONLY:
            await store.delete(key.blob_id, key.namespace)
            return
        deleter = self._deleter

        async def delete(_: Place) -> None:
            # A transfer that was cancelled for this may have changed the status.
            now = await store.get_sync_status(key.blob_id, key.namespace)
            await deleter.delete(key, None if now is None else now[0], Priority.URGENT)

        deleted = DeletedMeanwhile.of(key.blob_id, key.namespace)
        self._putter.give_up(key, deleted)
        await self._transfers.replace(key, "delete", Priority.URGENT, delete, deleted)

    def resume_deletion(
        self, key: BlobKey, priority: int, age: int, is_another: Callable[[], object]
    ) -> Deferred[None]:
        """
        Complete a deletion that was asked for earlier; see :meth:`.Deleter.resume`.

        :param is_another: called if the server has another blob of that id.
        """

        async def resume(place: Place) -> None:
            if await self._deleter.resume(key, place.priority):
                is_another()

        return self._transfers.share(key, "delete", priority, resume, age)

    async def settle(self, keys: Iterable[BlobKey]) -> None:
        """
        Find out which of the blobs that wait for their upload the server has already.

        :raise BlobError: one that all of them would meet; others are met again by their uploads.
        """
        await in_parallel(
            self._limits.concurrent_transfers_limit,
            keys,
            lambda key: self._transfers.share(
                key, "settle", Priority.DEFAULT, partial(self._settle, key)
            ),
        )

    async def _settle(self, key: BlobKey, place: Place) -> None:
        async with self.permits.hold(place):
            try:
                await self._uploader.settle(key)
            except BlobError as error:
                if ends_run(error):
                    raise

    async def verify(self, key: BlobKey, deep: bool) -> bool:
        """
        Ask whether the server has what is here.

        :param deep: download and open it, too.
        :raise BlobError: see :func:`.is_the_same`.
        """
        store, remote = self.need_store(), self.need_remote()
        requests = Requests(self.permits, self._clock, self._jitter)

        async def download(staged: IStagedBlob) -> None:
            async def transfer(_: BlobKey, __: Place, report: Progress) -> None:
                await remote.download(key.blob_id, staged, key.namespace, report)

            await self._reporting(transfer, key, "download")(Place(Priority.DEFAULT, 0))

        compare = partial(is_the_same, store, remote, key, download if deep else None)
        return await requests.make(Priority.DEFAULT, compare)

    # -- many blobs --------------------------------------------------------------------

    def new_age(self) -> int:
        """Take a place among equals, behind all who have one."""
        return self.permits.new_age()

    def watch_cancellations(self) -> LookAgain:
        """Take note of transfers that are cancelled; see :meth:`.Transfers.watch_cancellations`."""
        return self._transfers.watch_cancellations()

    async def run(
        self,
        namespace: str,
        page: Page,
        attempt: Attempt,
        ended: Ended,
        look_again: LookAgain = lambda: succeed(False),
        begun: Callable[[TransferRun], object] = bool,
        given_up: set[str] | None = None,
    ) -> BaseException | None:
        """
        Transfer the blobs of a list; see :class:`.TransferRun`.

        :param begun: is given the run, for what may be done with it until it has ended.
        """
        age = self.new_age()

        def attempt_at(queued: QueuedTransfer) -> Deferred[None]:
            key = BlobKey(namespace, queued.blob_id)
            return ensureDeferred(attempt(key, queued.priority, age))

        run = TransferRun(self._clock, self._jitter, page, attempt_at, look_again, ended, given_up)
        begun(run)
        return await run.run()

    # -- parts -------------------------------------------------------------------------

    def _reporting(self, transfer: Transfer, key: BlobKey, direction: str) -> Start:
        """Have the observer, if there is one, told of a transfer."""
        if self._observer is None:
            return lambda place: transfer(key, place, no_progress)
        report = Reporter(self._clock, self._observer, key, direction)
        return lambda place: report.follow(transfer(key, place, report))

    @cached_property
    def _uploader(self) -> Uploader:
        return Uploader(
            self.need_store(),
            self.need_remote(),
            self._stream,
            self.permits,
            new_preamble,
            self.changes.note_uploaded,
        )

    @cached_property
    def _downloader(self) -> Downloader:
        return Downloader(
            self.need_store(),
            self.need_remote(),
            self._stream,
            self.permits,
            lambda: self._limits.max_decrypt_retries,
        )

    @cached_property
    def _deleter(self) -> Deleter:
        return Deleter(
            self.need_store(), self.need_remote(), self.requests, self.changes.note_deleted
        )
