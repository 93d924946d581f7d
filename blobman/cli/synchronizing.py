"""The work of ``sync``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import LoopingCall, deferLater

from blobman import BlobError, BlobManager, CertificateError, StoreError, UnauthorizedError

from .commands import Session
from .waiting import in_lanes

LANES = 4
"""How many namespaces are brought into step at a time."""

COUNT_INTERVAL = 1.0
"""Seconds between two looks how many transfers are left."""

_TRANSFERS = ("PENDING_UPLOAD", "PENDING_DOWNLOAD")

_LEFT = {
    "PENDING_UPLOAD": "to send",
    "PENDING_DOWNLOAD": "to fetch",
    "PENDING_DELETE": "to delete",
    "FAILED_UPLOAD": "refused by the server",
    "FAILED_DOWNLOAD": "that do not verify",
}


async def synchronize(
    session: Session, namespaces: tuple[str, ...], everything: bool, watch: float | None
) -> None:
    """
    Bring namespaces into step, and show how they stand.

    :param everything: all that are known here, besides those that are named.
    :param watch: seconds until it is done again; None for once.
    """
    async with (
        session.manager(server=True, by_blob=True) as manager,
        telling_what_is_left(session, manager),
    ):
        shown: dict[str, str] = {}
        await _sync_all(session, manager, await _choose(manager, namespaces, everything), shown)
        while watch is not None:
            await deferLater(session.reactor, watch)
            chosen = await _choose(manager, namespaces, everything)
            await _sync_all(session, manager, chosen, shown)


async def _choose(
    manager: BlobManager, namespaces: tuple[str, ...], everything: bool
) -> Sequence[str]:
    if not everything:
        return namespaces or ("",)
    assert manager.local is not None
    return sorted({"", *namespaces, *await manager.local.list_namespaces()})


async def _sync_all(
    session: Session, manager: BlobManager, namespaces: Sequence[str], shown: dict[str, str]
) -> None:
    """
    Bring namespaces into step once.

    :param shown: what was said of each the last time, which is not said again.
    """

    async def sync_one(namespace: str) -> None:
        try:
            await manager.sync(namespace)
        except (StoreError, UnauthorizedError, CertificateError):
            # Neither another namespace nor another time would fare better.
            raise
        except (BlobError, ValueError) as error:
            session.screen.failure(f"namespace {namespace}" if namespace else "sync", error)
        await _show_counts(session, manager, namespace, shown)

    with _counting(session, manager, namespaces):
        await in_lanes(LANES, namespaces, sync_one)


@contextmanager
def _counting(session: Session, manager: BlobManager, namespaces: Sequence[str]) -> Iterator[None]:
    """Let those who watch know now and then how many transfers are left."""
    assert manager.local is not None
    store, tally = manager.local, session.screen.tally

    async def count() -> None:
        left = 0
        for namespace in namespaces if tally.is_running else ():
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


async def _show_counts(
    session: Session, manager: BlobManager, namespace: str, shown: dict[str, str]
) -> None:
    assert manager.local is not None
    counts = await manager.local.get_sync_progress(namespace)
    if session.screen.as_json:
        session.screen.result("", namespace=namespace, counts=counts)
        return
    place = f" in namespace {namespace}" if namespace else ""
    left = _what_is_left(counts)
    text = f"{counts.get('SYNCED', 0)} in step{place}" + (left and f", {left}")
    if text != shown.get(namespace):
        session.screen.remark(text)
        shown[namespace] = text


@asynccontextmanager
async def telling_what_is_left(session: Session, manager: BlobManager) -> AsyncIterator[None]:
    """Tell, when what is inside is interrupted, what ``sync`` will have to do."""
    try:
        yield
    except CancelledError:
        left = _what_is_left(await manager.sync_progress)
        if left:
            session.screen.remark(f"left: {left}; blobman sync goes on from here")
        raise


def _what_is_left(counts: Mapping[str, int]) -> str:
    left = [f"{counts[name]} {what}" for name, what in _LEFT.items() if name in counts]
    return ", ".join(left)
