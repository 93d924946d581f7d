"""The work of ``sync --watch``."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall, deferLater

from blobman import (
    BlobChange,
    BlobError,
    BlobManager,
    CertificateError,
    RetriableTransferError,
    ServerError,
)

from .commands import Session
from .failures import describe_error
from .foreign import check_secret
from .synchronizing import counting, show_counts, telling_what_is_left
from .text import in_namespace
from .waiting import in_lanes

LOOK_INTERVAL = 1.0
"""Seconds between two looks whether blobs have changed, and their numbers are to be shown."""


async def watch(
    session: Session, namespaces: Sequence[str], everything: bool, interval: float
) -> None:
    """
    Follow namespaces until it is interrupted, and show what changes, and when.

    :param everything: all that there are, and those that come.
    :param interval: seconds between two questions to a server that can't tell what has changed.
    """
    session.screen.show_times()
    async with (
        session.manager(server=True, by_blob=True) as manager,
        telling_what_is_left(session, manager),
    ):
        watcher = _Watcher(session, manager, interval)
        places: Sequence[str | None] = [None] if everything else namespaces or ("",)
        with watcher, counting(session, manager, watcher.places):
            await in_lanes(len(places), places, watcher.follow)


class _Watcher:
    """
    Follows namespaces, and shows what it is told.

    :ivar places: the namespaces that have been compared with the server.
    """

    def __init__(self, session: Session, manager: BlobManager, interval: float) -> None:
        self._session = session
        self._manager = manager
        self._interval = interval
        self.places: set[str] = set()
        self._changed: set[str] = set()
        self._shown: dict[str, dict[str, int]] = {}
        self._failure = ""
        self._looking = LoopingCall(self._look)
        self._looking.clock = session.reactor

    def __enter__(self) -> None:
        self._looking.start(LOOK_INTERVAL, now=False)

    def __exit__(self, *_: object) -> None:
        self._looking.stop()

    async def follow(self, namespace: str | None) -> None:
        """
        Follow a namespace, or all of them.

        :raise BlobError: the server does not accept the token, or the keys are wrong ones.
        """
        while True:
            try:
                await self._begin(namespace)
                await self._manager.follow(
                    namespace, self._note, self._interval, on_error=self._fail
                )
            except (CertificateError, RetriableTransferError, ServerError) as error:  # noqa: PERF203
                # In a captive portal, the certificate is the portal's.
                self._fail(error)
                await deferLater(self._session.reactor, self._interval)

    async def _begin(self, namespace: str | None) -> None:
        """Compare for the first time, if this machine has the keys for what is there."""
        places = [namespace] if namespace is not None else await self._manager.namespaces()
        for place in places or [""]:
            await check_secret(self._manager, place)
            await self._manager.refresh_sync_status_from_server(place)
            self._take_in(place)

    def _take_in(self, namespace: str) -> None:
        self._failure = ""
        self.places.add(namespace)
        self._changed.add(namespace)

    def _fail(self, error: BlobError) -> None:
        """Show what does not work, unless it is the same as before."""
        text = describe_error(error)
        if text != self._failure:
            self._failure = text
            self._session.screen.failure("sync", error)

    def _note(self, change: BlobChange) -> None:
        self._take_in(change.namespace)
        screen, flags = self._session.screen, [flag.value for flag in change.flags]
        if screen.as_json:
            screen.event(
                "change",
                id=change.blob_id,
                namespace=change.namespace,
                kind=change.kind,
                flags=flags,
            )
        elif change.kind != "arrived":  # Of these, their transfers tell.
            blob = f"{change.blob_id}{in_namespace(change.namespace)}"
            told = f"flags of {blob}: {' '.join(flags) or 'none'}"
            screen.remark(f"deleted {blob}" if change.kind == "deleted" else told)

    def _look(self) -> Deferred[None]:
        # Failures of the store are for those who need it.
        return Deferred.fromCoroutine(self._show_counts()).addErrback(lambda _: None)

    async def _show_counts(self) -> None:
        store, screen = self._manager.local, self._session.screen
        assert store is not None
        if screen.tally.is_running:
            return
        for namespace in sorted(self._changed):
            self._changed.discard(namespace)
            counts = await store.get_sync_progress(namespace)
            if self._shown.get(namespace) != counts:
                self._shown[namespace] = counts
                show_counts(screen, namespace, counts)
