"""The work of ``sync``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import NamedTuple

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import LoopingCall, deferLater

from blobman import (
    BlobError,
    BlobManager,
    CertificateError,
    InvalidBlob,
    RetriableTransferError,
    StoreError,
    UnauthorizedError,
)

from .commands import Session
from .failures import describe_error
from .foreign import check_secret
from .waiting import in_lanes

LANES = 4
"""How many namespaces are brought into step at a time."""

COUNT_INTERVAL = 1.0
"""Seconds between two looks how many transfers are left."""

_TRANSFERS = ("PENDING_UPLOAD", "PENDING_DOWNLOAD")


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


async def synchronize(
    session: Session, namespaces: tuple[str, ...], everything: bool, watch: float | None
) -> None:
    """
    Bring namespaces into step, and show how they stand.

    :param everything: all that the server has, or are known here, besides those that are named.
    :param watch: seconds until it is done again; None for once.
    """
    async with (
        session.manager(server=True, by_blob=True) as manager,
        telling_what_is_left(session, manager),
    ):
        rounds = _Rounds(session, manager, is_last=watch is None)
        await rounds.sync(await _choose(manager, namespaces, everything))
        while watch is not None:
            await deferLater(session.reactor, watch)
            await rounds.sync(await _choose(manager, namespaces, everything))


async def _choose(
    manager: BlobManager, namespaces: tuple[str, ...], everything: bool
) -> Sequence[str]:
    if not everything:
        return namespaces or ("",)
    return sorted({"", *namespaces, *await manager.namespaces()})


class _Rounds:
    """
    Brings namespaces into step, again and again.

    :param is_last: what is left after a round is left for good, and so is what fails.
    """

    def __init__(self, session: Session, manager: BlobManager, is_last: bool) -> None:
        self._session = session
        self._manager = manager
        self._is_last = is_last
        self._shown: dict[str, str] = {}
        self._failures: dict[str, str] = {}

    async def sync(self, namespaces: Sequence[str]) -> None:
        """Bring them into step once."""
        with _counting(self._session, self._manager, namespaces):
            await in_lanes(LANES, namespaces, self._sync_one)

    async def _sync_one(self, namespace: str) -> None:
        has_failed = True
        try:
            await check_secret(self._manager, namespace)
            await self._manager.sync(namespace)
            has_failed = False
        except (StoreError, UnauthorizedError):
            # Neither another namespace nor another time would fare better.
            raise
        except CertificateError as error:
            # In a captive portal, the certificate is the portal's.
            if self._is_last:
                raise
            self._fail(namespace, error)
        except (BlobError, ValueError) as error:
            self._fail(namespace, error)
        else:
            self._failures.pop(namespace, None)
        await self._show_counts(namespace, has_failed)

    def _fail(self, namespace: str, error: Exception) -> None:
        """Show a failure, unless it is the same as the last time."""
        text = describe_error(error)
        if self._failures.get(namespace) != text:
            self._failures[namespace] = text
            subject = f"namespace {namespace}" if namespace else "sync"
            self._session.screen.failure(subject, error)

    async def _show_counts(self, namespace: str, has_failed: bool) -> None:
        assert self._manager.local is not None
        screen = self._session.screen
        counts = await self._manager.local.get_sync_progress(namespace)
        place = f" in namespace {namespace}" if namespace else ""
        left = _what_is_left(counts)
        if screen.as_json:
            screen.result("", namespace=namespace, counts=counts)
        else:
            text = f"{counts.get('SYNCED', 0)} in step{place}" + (left and f", {left}")
            if text != self._shown.get(namespace):
                screen.remark(text)
                self._shown[namespace] = text
        if left and self._is_last and not has_failed:
            name = next(name for name in _LEFT if name in counts)
            error = _LEFT[name].error(f"not all{place} is in step: {left}")
            screen.failure("sync", error, f"blobman status {name} lists them")


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
    left = [f"{counts[name]} {it.text}" for name, it in _LEFT.items() if name in counts]
    return ", ".join(left)
