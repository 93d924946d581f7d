"""The work of ``sync``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import NamedTuple

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import LoopingCall

from blobman import (
    BlobError,
    BlobManager,
    CertificateError,
    InvalidBlob,
    RetriableTransferError,
    StoreError,
    SyncResult,
    UnauthorizedError,
)

from .commands import Session
from .foreign import check_secret
from .screen import Screen
from .text import in_namespace
from .waiting import in_lanes

LANES = 4
"""How many namespaces are brought into step at a time."""

COUNT_INTERVAL = 1.0
"""Seconds between two looks how many transfers are left."""

_TRANSFERS = ("PENDING_UPLOAD", "PENDING_DOWNLOAD")


_MOVED = ("fetched", "sent", "deleted")
"""The numbers of a :class:`SyncResult`."""


class _Left(NamedTuple):
    """
    What it means when blobs are left in a status.

    :ivar error: what gives the exit code of a ``sync`` that leaves any.
    """

    text: str
    error: type[BlobError]


_LEFT = {
    "PENDING_UPLOAD": _Left("to send", RetriableTransferError),
    "PENDING_DOWNLOAD": _Left("to fetch", RetriableTransferError),
    "PENDING_DELETE": _Left("to delete", RetriableTransferError),
    "FAILED_UPLOAD": _Left("refused by the server", BlobError),
    "FAILED_DOWNLOAD": _Left("that do not verify", InvalidBlob),
}


async def synchronize(session: Session, namespaces: Sequence[str], everything: bool) -> None:
    """
    Bring namespaces into step, and show how they stand.

    :param everything: all that the server has, or are known here, besides those that are named.
    """
    async with (
        session.manager(server=True, by_blob=True) as manager,
        telling_what_is_left(session, manager),
    ):
        places: Sequence[str] = namespaces or ("",)
        if everything:
            places = sorted({"", *namespaces, *await manager.namespaces()})
        with counting(session, manager, places):
            await in_lanes(LANES, places, _Sync(session, manager).sync)


class _Sync:
    """Brings namespaces into step."""

    def __init__(self, session: Session, manager: BlobManager) -> None:
        self._session = session
        self._manager = manager

    async def sync(self, namespace: str) -> None:
        """Bring a namespace into step, and show what that did, and how it stands."""
        fetched, result, has_failed = 0, SyncResult(), True
        try:
            fetched = await check_secret(self._manager, namespace)
            result = await self._manager.sync(namespace)
            has_failed = False
        except (StoreError, UnauthorizedError, CertificateError):
            # Another namespace would not fare better.
            raise
        except BlobError as error:
            result = error.result or result
            subject = f"namespace {namespace}" if namespace else "sync"
            self._session.screen.failure(subject, error)
        result = replace(result, fetched=result.fetched + fetched)
        await self._show_counts(namespace, result, has_failed)

    async def _show_counts(self, namespace: str, result: SyncResult, has_failed: bool) -> None:
        assert self._manager.local is not None
        screen = self._session.screen
        counts = await self._manager.local.get_sync_progress(namespace)
        left = what_is_left(counts)
        show_counts(screen, namespace, counts, result)
        if left and not has_failed:
            name = next(name for name in _LEFT if name in counts)
            error = _LEFT[name].error(f"not all{in_namespace(namespace)} is in step: {left}")
            screen.failure("sync", error, f"blobman status {name} lists them")


def show_counts(
    screen: Screen, namespace: str, counts: Mapping[str, int], result: SyncResult | None = None
) -> None:
    """
    Show how many blobs of a namespace are in step, and what is left.

    :param result: what has been moved, to be shown, too.
    """
    moved = {} if result is None else {name: getattr(result, name) for name in _MOVED}
    if screen.as_json:
        screen.result("", namespace=namespace, counts=counts, **moved)
    else:
        left = what_is_left(counts)
        text = f"{counts.get('SYNCED', 0)} in step{in_namespace(namespace)}"
        done = ", ".join(f"{count} {name}" for name, count in moved.items() if count)
        screen.remark(text + (left and f", {left}") + (done and f"; {done}"))


@contextmanager
def counting(session: Session, manager: BlobManager, namespaces: Collection[str]) -> Iterator[None]:
    """Let those who watch know now and then how many transfers are left."""
    assert manager.local is not None
    store, tally = manager.local, session.screen.tally

    async def count() -> None:
        left = 0
        for namespace in [*namespaces] if tally.is_running else ():
            counts = await store.get_sync_progress(namespace)
            left += sum(counts.get(name, 0) for name in _TRANSFERS)
        tally.expect_more(left)

    # Failures of the store are for those who need it.
    loop = LoopingCall(lambda: Deferred.fromCoroutine(count()).addErrback(lambda _: None))
    loop.clock = session.reactor
    loop.start(COUNT_INTERVAL)
    try:
        yield
    finally:
        loop.stop()


@asynccontextmanager
async def telling_what_is_left(session: Session, manager: BlobManager) -> AsyncIterator[None]:
    """Tell, when what is inside is interrupted, what ``sync`` will have to do."""
    try:
        yield
    except CancelledError:
        left = what_is_left(await manager.sync_progress)
        if left:
            session.screen.remark(f"left: {left}; blobman sync goes on from here")
        raise


def what_is_left(counts: Mapping[str, int]) -> str:
    """Say how many blobs are not in step, and why; nothing if all are."""
    left = [f"{counts[name]} {it.text}" for name, it in _LEFT.items() if name in counts]
    return ", ".join(left)
