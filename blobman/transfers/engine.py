"""Everything that moves the blobs of one manager, put together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property, partial
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime

from ..document import BlobDoc
from ..errors import (
    DeletedMeanwhile,
    NotConfiguredError,
)
from ..interfaces import (
    IBlobStore,
    IRemote,
    IRemoteStream,
    IStagedBlob,
    ITransferObserver,
)
from ..model import BlobKey, Priority, QueuedTransfer, SyncStatus
from .arrivals import Arrivals
from .deletions import Deleter
from .downloads import Downloader
from .operations import Operations, Work, in_parallel, together
from .own_changes import Changes
from .permits import Permits
from .progress import Reports
from .puts import NewPreamble, Puts
from .requests import Requests
from .retry import Jitter
from .runs import Ended, LookAgain, Page, TransferRun
from .sharing import Transfers
from .timing import Timing
from .transfer import Transfer, Transferring
from .uploads import Uploader
from .verification import is_the_same

T = TypeVar("T")

Attempt = Callable[[BlobKey, int, int, "float | None"], Deferred[None]]
"""Transfers a blob, of this priority and age, at a time of the clock or at once."""


def no_server() -> NotConfiguredError:
    """Make the error of what takes a server where there is none."""
    return NotConfiguredError("there is no server: remote was not given")


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
    :ivar writes: the permits to write a new blob to the store.
    :ivar requests: short requests to the server.
    :ivar changes: what is changed on the server.
    :ivar timing: for who waits, and tries again.
    """

    def __init__(
        self,
        local: IBlobStore | None,
        server: IRemote | None,
        stream: IRemoteStream | None,
        new_preamble: NewPreamble,
        clock: IReactorTime,
        jitter: Jitter,
        observer: ITransferObserver | None,
        limits: Limits,
    ) -> None:
        """
        Nothing is under way.

        :param stream: takes small blobs many to a request; None if each travels alone.
        :param new_preamble: makes what a blob is sealed with.
        :param clock: for the time between attempts.
        :param jitter: see :func:`.retry_delay`.
        :param observer: is told of every transfer.
        """
        self.local = local
        self.server = server
        self.operations = Operations()
        self.changes = Changes()
        self._stream = stream
        self._new_preamble = new_preamble
        self._clock = clock
        self._jitter = jitter
        self.timing = Timing(clock, jitter)
        self._reports = Reports(clock, observer)
        self._limits = limits
        self._transfers = Transfers(lambda: limits.concurrent_transfers_limit, clock)
        self.permits = self._transfers.permits
        self.writes = Permits(lambda: limits.concurrent_writes_limit, clock)
        self._puts = Puts(self.writes, new_preamble, self._send)
        permits = Permits(lambda: limits.concurrent_transfers_limit, clock)
        self.requests = Requests(permits, jitter)

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
            raise no_server()
        return self.server

    @cached_property
    def arrivals(self) -> Arrivals:
        """Blobs that come to the store."""
        return Arrivals(self.need_store())

    # -- what is under way -------------------------------------------------------------

    def begin(self, work: Work[T]) -> Deferred[T]:
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
            for queue in (self.permits, self.requests.permits, self.writes):
                stack.enter_context(queue.held_back())
            yield

    def limit_changed(self) -> None:
        """Ask for the limits at once, rather than when what is under way ends."""
        for queue in (self.permits, self.requests.permits, self.writes):
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

    def put(
        self, doc: BlobDoc, key: BlobKey, size: int, priority: Priority, local_only: bool
    ) -> Deferred[None]:
        """
        Store a blob, and upload it unless it is local only.

        :return: fires with None when that is done. Fails as storing or uploading it does.
        """
        return self._puts.put(self.need_store(), doc, key, size, priority, local_only)

    def _send(self, key: BlobKey, priority: int) -> Deferred[None]:
        if self.server is None:
            return fail(no_server())
        return self.upload(key, priority)

    def upload(
        self, key: BlobKey, priority: int, age: int | None = None, due: float | None = None
    ) -> Deferred[None]:
        """Upload a blob, or take part in its upload; see :meth:`.Uploader.start`."""
        return self._transfers.share(key, "upload", priority, self._start_upload, age, due)

    def _start_upload(self, transfer: Transfer) -> Transferring | None:
        transfer.report = self._reports.begin(transfer.key, "upload")
        return self._uploader.start(transfer)

    def upload_or_fail(
        self, key: BlobKey, priority: int, age: int, due: float | None = None
    ) -> Deferred[None]:
        """Upload; without space on the server, it is for the application to make some."""
        upload = self.upload(key, priority, age, due)
        return upload.addErrback(lambda failure: self._uploader.give_up(key, failure))

    def download(
        self,
        key: BlobKey,
        priority: int,
        age: int | None = None,
        due: float | None = None,
        *,
        asked_for: bool = False,
    ) -> Deferred[None]:
        """Download a blob, or take part in its download; see :meth:`.Downloader.start`."""
        start = self._start_wanted if asked_for else self._start_found
        return self._transfers.share(key, "download", priority, start, age, due)

    def _start_wanted(self, transfer: Transfer) -> Transferring | None:
        transfer.report = self._reports.begin(transfer.key, "download")
        return self._downloader.start(transfer, asked_for=True)

    def _start_found(self, transfer: Transfer) -> Transferring | None:
        transfer.report = self._reports.begin(transfer.key, "download")
        return self._downloader.start(transfer, asked_for=False)

    def replace(
        self,
        key: BlobKey,
        priority: int,
        age: int,
        due: float | None,
        is_the_same: Callable[[], object],
    ) -> Deferred[None]:
        """
        Replace a copy that is SYNCED, if the server has another blob; see :class:`.Downloader`.

        :param is_the_same: called if it has not.
        """

        async def compare_and_replace(transfer: Transfer) -> None:
            if await self._downloader.is_outdated(transfer):
                replace = partial(self._downloader.replace, transfer)
                await self._reports.of_part(replace, key, "download")
            else:
                is_the_same()

        return self._transfers.share(key, "replace", priority, compare_and_replace, age, due)

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

        async def delete(_: Transfer) -> None:
            # A transfer that was cancelled for this may have changed the status.
            now = await store.get_sync_status(key.blob_id, key.namespace)
            await deleter.delete(key, None if now is None else now[0], Priority.URGENT)

        deleted = DeletedMeanwhile.of(key.blob_id, key.namespace)
        await self._transfers.replace(key, "delete", Priority.URGENT, delete, deleted)

    def resume_deletion(
        self,
        key: BlobKey,
        priority: int,
        age: int,
        due: float | None,
        is_another: Callable[[], object],
    ) -> Deferred[None]:
        """
        Complete a deletion that was asked for earlier; see :meth:`.Deleter.resume`.

        :param is_another: called if the server has another blob of that id.
        """

        async def resume(transfer: Transfer) -> None:
            if await self._deleter.resume(key, transfer.priority):
                is_another()

        return self._transfers.share(key, "delete", priority, resume, age, due)

    async def settle(self, keys: Iterable[BlobKey]) -> None:
        """
        Find out which of the blobs that wait for their upload the server has already.

        :raise BlobError: one that all of them would meet; others are met again by their uploads.
        """
        await in_parallel(
            self._limits.concurrent_transfers_limit,
            keys,
            lambda key: self._transfers.share(
                key, "settle", Priority.DEFAULT, self._uploader.settle
            ),
        )

    async def verify(self, key: BlobKey, deep: bool) -> bool:
        """
        Ask whether the server has what is here.

        :param deep: download and open it, too.
        :raise BlobError: see :func:`.is_the_same`.
        """
        store, remote = self.need_store(), self.need_remote()
        requests = Requests(self.permits, self._jitter)

        async def download(staged: IStagedBlob) -> None:
            transfer = partial(remote.download, key.blob_id, staged, key.namespace)
            await self._reports.of_part(transfer, key, "download")

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

        def attempt_at(queued: QueuedTransfer, due: float | None) -> Deferred[None]:
            return attempt(BlobKey(namespace, queued.blob_id), queued.priority, age, due)

        run = TransferRun(self._clock, self._jitter, page, attempt_at, look_again, ended, given_up)
        begun(run)
        return await run.run()

    # -- parts -------------------------------------------------------------------------

    @cached_property
    def _uploader(self) -> Uploader:
        return Uploader(
            self.need_store(),
            self.need_remote(),
            self._stream,
            self.permits,
            self._new_preamble,
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
            self.arrivals.stage,
        )

    @cached_property
    def _deleter(self) -> Deleter:
        return Deleter(
            self.need_store(), self.need_remote(), self.requests, self.changes.note_deleted
        )
