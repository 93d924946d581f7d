"""
Which blobs have to move between the store and the server, and in what order.

Knows the two by their interfaces only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from functools import cached_property, partial
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred

from .arguments import check_following
from .errors import BlobError, ClosedError
from .interfaces import IBlobStore
from .limits import Limited
from .model import check_namespace
from .results import Account, BlobChange, SyncResult, with_result
from .synchronizing.comparing import Comparer
from .synchronizing.crowds import Crowd
from .synchronizing.following import MOST_WAITING, Follower, Turns
from .synchronizing.lanes import Patience
from .synchronizing.moving import Mover
from .synchronizing.namespaces import find_namespaces, sync_each
from .transfers.engine import Engine

T = TypeVar("T")

Work = Callable[[Mover], Coroutine[Deferred[Any], Any, "BaseException | None"]]
"""Moves something. Returns the first error of a blob that could not be moved."""


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

    def __init__(self, engine: Engine, now: Callable[[], float] = time.time) -> None:
        """
        Nothing is under way.

        :param engine: moves the blobs.
        :param now: gives the seconds since the epoch.
        """
        self.__now = now
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

    def sync(self, namespace: str | None = "", *, full: bool = False) -> Deferred[SyncResult]:
        """
        Bring store and server into step.

        The server is asked what has changed since the last time. Then our pending deletions are
        sent, what is missing here is fetched, what has been used again is replaced, and what is
        missing there is sent, all at the same time. What fails for a reason that may pass is tried
        again, ten times in all, and holds up nothing else: another ``sync`` of the namespace
        compares and transfers meanwhile.

        All that the server has is compared with all that is here the first time, if the server was
        restored from a backup, and once in 30 days by the clock of this machine, earlier if that
        was set; and each time with a server that can't tell what has changed, such as Soledad's.

        :param namespace: None for all that ``namespaces`` finds, and the default one.
        :param full: compare all of it in any case.
        :return: fires with a :class:`SyncResult` when all has moved. What did not verify, or was
            refused, in an earlier one is left alone; the result lists it. Fails after the rest
            has moved with the first error of a blob that could not: ``RetriableTransferError``
            (it is left for the next one), ``MaximumRetriesError``, ``BlobNotFoundError`` (gone
            meanwhile), ``BlobAlreadyExistsError`` (another blob has the id),
            ``QuotaExceededError``, ``ServerError``. Fails at once with ``UnauthorizedError``,
            ``CertificateError`` or ``StoreFullError``. What has been done all the same is in the
            ``result`` of the error.
        """
        sync = partial(self._accounted, partial(Mover.sync, full=bool(full)))

        async def sync_all() -> SyncResult:
            engine = self.__engine
            store, remote = engine.need_store(), engine.need_remote()
            found = await find_namespaces(store, remote, engine.requests)
            return await sync_each(sorted({"", *found}), sync, engine.held_back)

        if namespace is None:
            return self.__engine.begin(sync_all)
        return self._begin(namespace, sync)

    def send_missing(self, namespace: str = "") -> Deferred[SyncResult]:
        """
        Upload what is PENDING_UPLOAD.

        :return: as ``sync``.
        """
        return self._begin(namespace, partial(self._accounted, Mover.send_alone))

    def fetch_missing(self, namespace: str = "") -> Deferred[SyncResult]:
        """
        Download what is PENDING_DOWNLOAD.

        :return: as ``sync``.
        """
        return self._begin(namespace, partial(self._accounted, Mover.fetch_alone))

    def refresh_sync_status_from_server(
        self, namespace: str = "", *, full: bool = False
    ) -> Deferred[None]:
        """
        Ask what has changed, and note in the statuses what has to move. Nothing is transferred.

        Blobs that were deleted on the server go away here.

        :param full: as for ``sync``.
        :return: fires with None.
        """

        async def work(place: str) -> None:
            await self._mover(Account(place)).compare(bool(full))

        return self._begin(namespace, work)

    def follow(
        self,
        namespace: str | None = "",
        on_change: Callable[[BlobChange], object] | None = None,
        interval: float = 60.0,
        *,
        on_error: Callable[[BlobError], object] | None = None,
    ) -> Deferred[None]:
        """
        Keep store and server in step, from now on.

        As ``sync`` does, and then again for what comes: whatever is changed on the server, or is
        pending here, is moved as it comes. Lost connections are outlived: the server is asked again
        after 1, 11, 21, ... at most 60 seconds. What fails for another reason is tried again, too,
        about once in a minute.

        :param namespace: None for all that ``namespaces`` finds, and the default one, and those
            that come.
        :param on_change: called in the reactor's thread with each :class:`BlobChange`. What it
            raises is logged.
        :param interval: seconds between two questions, where the server can't tell at once: one
            that knows of no changes; for the namespaces beyond the fourth; and for new namespaces.
        :param on_error: called likewise with each error that is outlived: the server can't be
            reached, or a blob can't be moved.
        :return: never fires. Fails with ``UnauthorizedError``, ``CertificateError``,
            ``NotConfiguredError`` or ``WrongKeyError``, with ``ClosedError`` if the manager is
            closed, or ``CancelledError``: cancel it to end it.
        """
        engine, turns = self.__engine, Turns(1 if namespace is not None else MOST_WAITING)
        patience = Patience(engine, on_error)

        async def follow_one(place: str) -> None:
            comparer = self._comparer
            await Follower(engine, comparer, place, on_change, interval, turns, patience).run()

        async def work() -> None:
            check_following(on_change, interval, on_error)
            place = None if namespace is None else check_namespace(namespace)
            engine.need_store()
            engine.need_remote()
            try:
                if place is None:
                    await Crowd(engine, follow_one, interval, patience).run()
                else:
                    await follow_one(place)
            except CancelledError:
                if engine.operations.closed:
                    raise ClosedError("the manager was closed") from None
                raise

        return engine.begin(work)

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
            error = await work(self._mover(account))
            if error is not None:
                raise error
        except BlobError as failure:
            raise with_result(failure, account.close()) from failure.__cause__
        return account.close()

    def _mover(self, account: Account) -> Mover:
        return Mover(self.__engine, self._comparer, account)

    @cached_property
    def _comparer(self) -> Comparer:
        engine = self.__engine
        store, remote = engine.need_store(), engine.need_remote()
        return Comparer(store, remote, engine.requests, engine.changes, self.__now)
