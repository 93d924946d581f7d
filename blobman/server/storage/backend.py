"""What HTTP asks for, over a catalogue and a store of payloads: :class:`Backend`."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredList, DeferredLock, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from ...errors import BlobAlreadyExistsError, BlobNotFoundError
from ...model import Flags
from ...protocol import TAG_SIZE, Cursor, ListQuery
from .catalogue.interface import Entry, ICatalogue, Publication
from .feed import read_changes
from .interface import (
    SMALL,
    AwayError,
    BlobName,
    DamagedError,
    FlagList,
    Found,
    IBlobsBackend,
    IStoredBlob,
    IUpload,
    Namespaces,
    Outcomes,
    Pages,
    Parts,
    Sessions,
)
from .janitor import Janitor
from .payloads.interface import IPayloads, IPayloadWriter
from .payloads.pair import check_pair
from .reading import StoredBlob, open_payload
from .threads import Ending
from .uploads import SmallUpload, Upload

T = TypeVar("T")


@implementer(IBlobsBackend)
class Backend:
    """
    Keeps blobs.

    :param catalogue: what is said about them.
    :param payloads: where large ones are.
    :param clock: says when to clean up; if None, only ``janitor.clean`` does.
    :ivar catalogue: the same.
    :ivar payloads: the same.
    :ivar janitor: cleans up, while it is open.
    :ivar observers: called with what became of each request to what is elsewhere.
    :ivar queries: likewise, of each request to a database.
    :ivar uploads: those of large blobs that are under way.
    """

    def __init__(
        self, catalogue: ICatalogue, payloads: IPayloads, clock: IReactorTime | None
    ) -> None:
        self.catalogue = catalogue
        self.observers = payloads.observers
        self.queries = catalogue.queries
        self.payloads = payloads
        self.uploads: set[Upload] = set()
        self._changing = DeferredLock()
        self._ending = Ending(self._close)
        self.janitor = Janitor(catalogue, payloads, self._keys, clock)

    def sessions(self) -> Sessions:
        """Tell how many connections there are; see :class:`IBlobsBackend`."""
        return self.catalogue.sessions()

    def _keys(self) -> list[str]:
        return [upload.key for upload in self.uploads]

    def open(self) -> Deferred[None]:
        """Begin; see :class:`IBlobsBackend`."""
        waiting: Deferred[None] = Deferred()

        def opened(result: Any) -> None:
            if not waiting.called:
                waiting.callback(result)

        self._ending = Ending(self._close)
        Deferred.fromCoroutine(self._open(waiting)).addBoth(opened)
        return waiting

    async def _open(self, waiting: Deferred[None]) -> None:
        async with self._changing:
            await self._open_both()
            if waiting.called:
                # Cancelled. A thread that was opening something could not be stopped.
                await self._close_both()

    async def _open_both(self) -> None:
        await self.catalogue.open()
        try:
            await self.payloads.open()
            await check_pair(self.catalogue, self.payloads)
        except BaseException:
            await self.payloads.close()
            await self.catalogue.close()
            raise
        self.janitor.start()

    def close(self) -> Deferred[None]:
        """End; see :class:`IBlobsBackend`."""
        return self._ending.reach()

    async def _close(self) -> None:
        async with self._changing:
            await self._close_both()

    async def _close_both(self) -> None:
        await self.janitor.stop()
        await self.payloads.close()
        await self.catalogue.close()

    async def _check_writing(self) -> None:
        parts = {
            "catalogue": self.catalogue.check_writing(),
            "payloads": self.payloads.check_writing(),
        }
        checking = DeferredList(list(parts.values()), consumeErrors=True)
        outcomes: list[tuple[bool, Any]] = await checking
        away = {
            part: it for part, (is_well, it) in zip(parts, outcomes, strict=True) if not is_well
        }
        if away:
            reasons = "; ".join(failure.getErrorMessage() for failure in away.values())
            raise AwayError([*away], reasons)

    def check_writing(self) -> Deferred[None]:
        """Make a small change; see :class:`IBlobsBackend`."""
        return Deferred.fromCoroutine(self._check_writing())

    # -- lists -------------------------------------------------------------------------

    async def list(self, user: str, query: ListQuery) -> Pages:
        """List ids; see :class:`IBlobsBackend`."""
        page = await self.catalogue.page(user, query)
        while page.ids:
            ids = page.ids
            if page.after is None:
                yield ids
                return
            ahead = self.catalogue.page(user, query, page.after)
            try:
                yield ids
                page = await ahead
            finally:
                # Nobody may want the rest.
                ahead.addErrback(lambda _: None)

    def count(self, user: str, query: ListQuery) -> Deferred[int]:
        """Count ids; see :class:`IBlobsBackend`."""
        return self.catalogue.count(user, query)

    def changes(self, user: str, namespace: str, cursor: Cursor | None, most: int) -> Parts:
        """List changes; see :class:`IBlobsBackend`."""
        return read_changes(self.catalogue, user, namespace, cursor, most)

    def changed(self, user: str, namespace: str) -> Deferred[None]:
        """Wait for a change; see :class:`IBlobsBackend`."""
        return self.catalogue.waking.wait(user, namespace)

    async def namespaces(self, user: str) -> Namespaces:
        """List namespaces; see :class:`IBlobsBackend`."""
        page = await self.catalogue.namespaces(user)
        while page:
            yield page
            page = await self.catalogue.namespaces(user, max(page))

    # -- out ---------------------------------------------------------------------------

    def read(self, name: BlobName) -> Deferred[IStoredBlob]:
        """Open a blob; see :class:`IBlobsBackend`."""
        return Deferred.fromCoroutine(self._read(name))

    async def _read(self, name: BlobName) -> IStoredBlob:
        (entry,) = await self.catalogue.find([name], 1)
        if entry is None:
            raise BlobNotFoundError(f"no {name}")
        return await self._opened(name, entry)

    async def _opened(self, name: BlobName, entry: Entry) -> IStoredBlob:
        if entry.key is None:
            return StoredBlob(entry)
        try:
            return await open_payload(entry, self.payloads)
        except DamagedError as error:
            # It may have been deleted, or used again, just now.
            (present,) = await self.catalogue.find([name], 1)
            if present is None:
                raise BlobNotFoundError(f"no {name}") from error
            if present.key != entry.key:
                return await self._opened(name, present)
            raise

    def read_some(self, names: Sequence[BlobName], most: int) -> Deferred[Found]:
        """Open some blobs; see :class:`IBlobsBackend`."""
        return Deferred.fromCoroutine(self._read_some(names, most))

    async def _read_some(self, names: Sequence[BlobName], most: int) -> Found:
        entries = await self.catalogue.find(names, most)
        found: Found = [entry and StoredBlob(entry) for entry in entries]
        opening = {
            number: Deferred.fromCoroutine(self._opened(names[number], entry))
            for number, entry in enumerate(entries)
            if entry is not None and entry.key is not None
        }
        if not opening:
            return found
        try:
            outcomes: list[tuple[bool, Any]] = await DeferredList(
                list(opening.values()), consumeErrors=True
            )
        except BaseException:
            _close_each(opening.values())
            raise
        for number, (is_open, outcome) in zip(opening, outcomes, strict=True):
            if is_open or outcome.check(BlobNotFoundError):
                found[number] = outcome if is_open else None
                continue
            # The next call is told of it, if there are others before it.
            _close_each([opening[it] for it in opening if it > number])
            if number == 0:
                outcome.raiseException()
            return found[:number]
        return found

    # -- in ----------------------------------------------------------------------------

    def receive(self, name: BlobName, size: int | None = None) -> Deferred[IUpload]:
        """Begin an upload; see :class:`IBlobsBackend`."""
        return Deferred.fromCoroutine(self._receive(name, size))

    async def _receive(self, name: BlobName, size: int | None) -> IUpload:
        if size is not None and size <= SMALL:
            if (await self.catalogue.find([name], 1))[0] is not None:
                raise BlobAlreadyExistsError(f"{name} exists")
            return SmallUpload(name, self.catalogue)
        key = secrets.token_hex(16)
        reserved = size or 0
        await self._made(key, self.catalogue.reserve(name, key, reserved))
        writer = await self._made(key, self.payloads.create(key, size), _discard)
        upload = Upload(
            name, key, reserved, writer, self.catalogue, self.janitor.remove, self._forget
        )
        self.uploads.add(upload)
        return upload

    def _made(
        self, key: str, making: Deferred[T], discard: Callable[[T], Deferred[None]] | None = None
    ) -> Deferred[T]:
        """
        Wait for what an upload needs; or leave nothing of the upload behind.

        :param discard: called with it if nobody waits any more.
        """
        waiting: Deferred[T] = Deferred()

        def made(result: T) -> None:
            if waiting.called:
                # Cancelled. Not removed before: it could have been made afterwards.
                discarding = discard(result) if discard else succeed(None)
                discarding.addBoth(lambda _: self.janitor.remove(key))
            else:
                waiting.callback(result)

        def failed(failure: Failure) -> None:
            # It may have been made all the same.
            self.janitor.remove(key)
            if not waiting.called:
                waiting.errback(failure)

        making.addCallbacks(made, failed)
        return waiting

    def _forget(self, upload: Upload) -> None:
        self.uploads.discard(upload)

    def store(self, blobs: Sequence[tuple[BlobName, bytes]]) -> Deferred[Outcomes]:
        """Store small blobs; see :class:`IBlobsBackend`."""
        return self.catalogue.publish(
            [
                Publication(name, len(content), content[-TAG_SIZE:], content)
                for name, content in blobs
            ]
        )

    # -- changes -----------------------------------------------------------------------

    def delete(self, name: BlobName) -> Deferred[None]:
        """Delete a blob; see :class:`IBlobsBackend`."""
        return self.catalogue.delete(name)

    def set_flags(self, name: BlobName, flags: Iterable[Flags]) -> Deferred[None]:
        """Replace flags; see :class:`IBlobsBackend`."""
        return self.catalogue.set_flags(name, tuple(flags))

    def get_flags(self, name: BlobName) -> Deferred[FlagList]:
        """Read flags; see :class:`IBlobsBackend`."""
        return self.catalogue.get_flags(name)


def _close_each(opened: Iterable[Deferred[IStoredBlob]]) -> None:
    for deferred in opened:
        deferred.addCallbacks(lambda it: it.close(), lambda _: None)


def _discard(writer: IPayloadWriter) -> Deferred[None]:
    discarding: Deferred[None] = writer.discard()
    return discarding
