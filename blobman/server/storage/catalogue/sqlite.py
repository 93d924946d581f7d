"""A catalogue in one SQLite database: :class:`SQLiteCatalogue`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import apsw
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.threads import deferToThreadPool
from zope.interface import implementer

from ....model import Flags
from ....protocol import ListQuery
from ...accounts.interface import Tokens
from ..interface import BlobName, FlagList, Outcomes
from ..threads import Closed, Ending, Inline, Threads, Work, Worker
from ..waking import Waiters
from .connection import Adopt, connect, store_errors
from .folder import CatalogueFolder
from .interface import (
    LAST,
    PAGE,
    Change,
    Entry,
    History,
    ICatalogue,
    Page,
    Publication,
    Quotas,
    Usage,
)
from .questions import Questions
from .transaction import Transaction
from .writer import Growing, Publishing, Writer

T = TypeVar("T")

READERS = 4
"""How many questions are answered at once."""

READER_CACHE = 1024 * 1024
"""Bytes of pages that each of them keeps in memory."""

TOGETHER = 32
"""How many pieces of work are committed together at most."""


def _call(call: Callable[..., object], *arguments: object) -> None:
    call(*arguments)


@implementer(ICatalogue)
class SQLiteCatalogue:
    """
    Keeps the catalogue in a folder: a database with its log, a lock and the last number.

    One process at a time. A thread writes, and some others read.

    :param folder: the folder, which is made if need be. If it is empty, all is in memory, and
        every Deferred has fired when it is returned.
    :param reactor: where Deferreds fire; the global one if None.
    :param now: gives nanoseconds since the epoch.
    :param adopt: fills a catalogue that has just been made, with a connection that is in a
        transaction; in a thread.
    :ivar waking: tells where something has changed.
    """

    def __init__(
        self,
        folder: str = "",
        reactor: Any = None,
        now: Callable[[], int] = time.time_ns,
        adopt: Adopt | None = None,
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self._reactor = reactor
        self._place = CatalogueFolder(folder)
        self.waking = Waiters(reactor.callFromThread if folder else _call)
        self._writer = Writer(self._place, now, adopt, self.waking.announce)
        self._writing: Worker = Closed()
        self._reading: Worker = Closed()
        self._lock = threading.Lock()
        self._idle: list[apsw.Connection] = []
        self._ending = Ending(self._close)

    # -- opening and closing -----------------------------------------------------------

    def open(self) -> Deferred[None]:
        """Begin; see :class:`ICatalogue`."""
        return Deferred.fromCoroutine(self._open())

    async def _open(self) -> None:
        await self._block(self._writer.open)
        if not self._place.path:
            self._writing, self._reading = Inline(self._writer.run), Inline(self._read_each)
        else:
            self._writing = Threads(
                self._reactor, "writer", 1, self._writer.run, TOGETHER, self._writer.rest
            )
            self._reading = Threads(self._reactor, "reader", READERS, self._read_each)
        self._ending = Ending(self._close)

    def _block(self, call: Callable[[], None]) -> Deferred[None]:
        """Do what blocks, before or after there are threads for it."""
        if not self._place.path:
            return maybeDeferred(call)
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), call)

    def close(self) -> Deferred[None]:
        """End; see :class:`ICatalogue`."""
        return self._ending.reach()

    async def _close(self) -> None:
        await gatherResults([self._writing.close(), self._reading.close()])
        self.waking.wake_all()
        while self._idle:
            self._idle.pop().close()
        await self._block(self._writer.close)

    # -- reading and writing -------------------------------------------------------------

    def _write(self, call: Callable[[Transaction], T]) -> Deferred[T]:
        return self._writing.begin(call)

    def _read(self, call: Callable[[Questions], T]) -> Deferred[T]:
        return self._reading.begin(call)

    def _read_each(self, works: Sequence[Work[Any]]) -> None:
        for work in works:
            work.attempt(partial(self._answer, work.call))

    def _answer(self, ask: Callable[[Questions], T]) -> T:
        with store_errors():
            return self._ask(ask)

    def _ask(self, ask: Callable[[Questions], T]) -> T:
        self._place.check()
        if not self._place.path:
            return ask(Questions(self._writer.connection()))
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        connection = connection or connect(self._place.path, READER_CACHE)
        try:
            answer = ask(Questions(connection))
        except apsw.Error:
            connection.close()
            raise
        except BaseException:
            self._keep(connection)
            raise
        self._keep(connection)
        return answer

    def _keep(self, connection: apsw.Connection) -> None:
        with self._lock:
            self._idle.append(connection)

    # -- what it is asked for --------------------------------------------------------------

    def check_writing(self) -> Deferred[None]:
        """Make a small change; see :class:`ICatalogue`."""
        return self._write(Growing(Transaction.check_writing))

    def publish(self, blobs: Sequence[Publication]) -> Deferred[Outcomes]:
        """Make blobs visible; see :class:`ICatalogue`."""
        return self._write(Publishing(blobs))

    def delete(self, name: BlobName) -> Deferred[None]:
        """Remove a blob; see :class:`ICatalogue`."""
        return self._write(lambda it: it.delete(name))

    def set_flags(self, name: BlobName, flags: Sequence[Flags]) -> Deferred[None]:
        """Replace flags; see :class:`ICatalogue`."""
        return self._write(lambda it: it.set_flags(name, flags))

    def get_flags(self, name: BlobName) -> Deferred[FlagList]:
        """Read flags; see :class:`ICatalogue`."""
        return self._read(lambda it: it.get_flags(name))

    def find(self, names: Sequence[BlobName], most: int) -> Deferred[list[Entry | None]]:
        """Look names up; see :class:`ICatalogue`."""
        return self._read(lambda it: it.find(names, most))

    def page(
        self, user: str, query: ListQuery, after: tuple[int, str] | None = None, most: int = PAGE
    ) -> Deferred[Page]:
        """List some ids; see :class:`ICatalogue`."""
        return self._read(lambda it: it.page(user, query, after, most))

    def count(self, user: str, query: ListQuery) -> Deferred[int]:
        """Count; see :class:`ICatalogue`."""
        return self._read(lambda it: it.count(user, query))

    def changes(
        self,
        user: str,
        namespace: str,
        after: int,
        most: int,
        upto: int = LAST,
        deleted_after: int = 0,
    ) -> Deferred[list[Change]]:
        """List changes; see :class:`ICatalogue`."""
        return self._read(lambda it: it.changes(user, namespace, after, most, upto, deleted_after))

    def history(self, user: str, namespace: str, generation: str = "") -> Deferred[History]:
        """Tell where a namespace stands; see :class:`ICatalogue`."""
        return self._read(lambda it: it.history(user, namespace, generation))

    def namespaces(self, user: str, after: str = "", most: int = PAGE) -> Deferred[dict[str, int]]:
        """List some namespaces; see :class:`ICatalogue`."""
        return self._read(lambda it: it.namespaces(user, after, most))

    def reserve(self, name: BlobName, key: str, size: int) -> Deferred[None]:
        """Record an upload; see :class:`ICatalogue`."""
        return self._write(Growing(lambda it: it.reserve(name, key, size)))

    def extend(self, key: str, size: int) -> Deferred[None]:
        """Reserve more; see :class:`ICatalogue`."""
        return self._write(Growing(lambda it: it.extend(key, size)))

    def renew(self, keys: Sequence[str]) -> Deferred[None]:
        """Prolong leases; see :class:`ICatalogue`."""
        return self._write(lambda it: it.renew(keys))

    def abandon(self, key: str) -> Deferred[bool]:
        """End an upload; see :class:`ICatalogue`."""
        return self._write(lambda it: it.abandon(key))

    def collect(self, most: int) -> Deferred[list[str]]:
        """End uploads, and list garbage; see :class:`ICatalogue`."""
        return self._write(lambda it: it.collect(most))

    def forget(self, keys: Sequence[str]) -> Deferred[None]:
        """Forget garbage; see :class:`ICatalogue`."""
        return self._write(lambda it: it.forget(keys))

    def postpone(self, keys: Sequence[str]) -> Deferred[None]:
        """Have garbage fall due later; see :class:`ICatalogue`."""
        return self._write(lambda it: it.postpone(keys))

    def usage(self) -> Deferred[list[Usage]]:
        """Tell what users keep; see :class:`ICatalogue`."""
        return self._read(Questions.usage)

    def quotas(self) -> Deferred[Quotas]:
        """Tell who may keep how much; see :class:`ICatalogue`."""
        return self._read(Questions.quotas)

    def set_quota(self, user: str | None, size: int | None) -> Deferred[None]:
        """Set a quota; see :class:`ICatalogue`."""
        return self._write(lambda it: it.set_quota(user, size))

    def unset_quota(self, user: str) -> Deferred[None]:
        """Remove a quota; see :class:`ICatalogue`."""
        return self._write(lambda it: it.unset_quota(user))

    def tokens(self, user: str) -> Deferred[Tokens]:
        """List tokens; see :class:`ICatalogue`."""
        return self._read(lambda it: it.tokens(user))
