"""A catalogue in one SQLite database: :class:`SQLiteCatalogue`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import apsw
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.threads import deferToThreadPool
from zope.interface import implementer

from ....threads import Work
from ..interface import Outcomes, Queries, Sessions
from ..payloads.interface import LINGER
from ..threads import CLOSED, Ending, Inline, Threads, Worker
from ..waking import Waiters
from .connection import Adopt, connect, store_errors
from .folder import CatalogueFolder
from .interface import ICatalogue, Publication
from .questions import Questions
from .transaction import Transaction
from .writer import Growing, Publishing, Writer

P = ParamSpec("P")
T = TypeVar("T")

READERS = 4
"""How many questions are answered at once."""

READER_CACHE = 1024 * 1024
"""Bytes of pages that each of them keeps in memory."""

TOGETHER = 32
"""How many pieces of work are committed together at most."""


def _call(call: Callable[..., object], *arguments: object) -> None:
    call(*arguments)


def _read(
    ask: Callable[Concatenate[Questions, P], T],
) -> Callable[Concatenate[SQLiteCatalogue, P], Deferred[T]]:
    """Make a method that asks a question."""

    @wraps(ask)
    def method(self: SQLiteCatalogue, /, *args: P.args, **named: P.kwargs) -> Deferred[T]:
        return self._reading.begin(lambda questions: ask(questions, *args, **named))

    return method


def _write(
    change: Callable[Concatenate[Transaction, P], T], is_growing: bool = False
) -> Callable[Concatenate[SQLiteCatalogue, P], Deferred[T]]:
    """
    Make a method that changes something.

    :param is_growing: whether more comes in by it; see :class:`.Growing`.
    """

    @wraps(change)
    def method(self: SQLiteCatalogue, /, *args: P.args, **named: P.kwargs) -> Deferred[T]:
        def work(transaction: Transaction) -> T:
            return change(transaction, *args, **named)

        return self._writing.begin(Growing(work) if is_growing else work)

    return method


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
    :param linger: seconds for which the payloads of deleted blobs are kept.
    :ivar waking: tells where something has changed.
    :ivar queries: is told nothing: there is no database elsewhere.
    """

    def __init__(
        self,
        folder: str = "",
        reactor: Any = None,
        now: Callable[[], int] = time.time_ns,
        adopt: Adopt | None = None,
        linger: int = LINGER,
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self._reactor = reactor
        self.queries: Queries = []
        self._place = CatalogueFolder(folder)
        self.waking = Waiters(reactor.callFromThread if folder else _call)
        self._writer = Writer(self._place, now, adopt, self.waking.announce, linger)
        self._writing: Worker = CLOSED
        self._reading: Worker = CLOSED
        self._lock = threading.Lock()
        self._idle: list[apsw.Connection] = []
        self._ending = Ending(self._close)

    def sessions(self) -> Sessions:
        """Say that there are none; see :class:`ICatalogue`."""
        return Sessions(0, 0)

    # -- opening and closing -----------------------------------------------------------

    def open(self) -> Deferred[None]:
        """Begin; see :class:`ICatalogue`."""
        return Deferred.fromCoroutine(self._open())

    async def _open(self) -> None:
        self._ending = Ending(self._close)
        await self._block(self._writer.open)
        try:
            self._start()
        except BaseException:
            await self.close()
            raise

    def _start(self) -> None:
        if not self._place.path:
            self._writing, self._reading = Inline(self._writer.run), Inline(self._read_each)
            return
        self._writing = Threads(
            self._reactor, "writer", 1, self._writer.run, TOGETHER, self._writer.rest
        )
        self._reading = Threads(self._reactor, "reader", READERS, self._read_each)

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

    get_flags = _read(Questions.get_flags)
    find = _read(Questions.find)
    page = _read(Questions.page)
    count = _read(Questions.count)
    changes = _read(Questions.changes)
    history = _read(Questions.history)
    namespaces = _read(Questions.namespaces)
    usage = _read(Questions.usage)
    quotas = _read(Questions.quotas)
    payload_rows = _read(Questions.payload_rows)
    claimed_keys = _read(Questions.claimed_keys)
    store_mark = _read(Questions.store_mark)
    tokens = _read(Questions.tokens)

    delete = _write(Transaction.delete)
    set_flags = _write(Transaction.set_flags)
    renew = _write(Transaction.renew)
    abandon = _write(Transaction.abandon)
    collect = _write(Transaction.collect)
    forget = _write(Transaction.forget)
    postpone = _write(Transaction.postpone)
    note_store_mark = _write(Transaction.note_store_mark)
    confirm_store_mark = _write(Transaction.confirm_store_mark)
    set_quota = _write(Transaction.set_quota)
    unset_quota = _write(Transaction.unset_quota)

    check_writing = _write(Transaction.check_writing, is_growing=True)
    reserve = _write(Transaction.reserve, is_growing=True)
    extend = _write(Transaction.extend, is_growing=True)

    def publish(self, blobs: Sequence[Publication]) -> Deferred[Outcomes]:
        """Make blobs visible; see :class:`ICatalogue`."""
        return self._writing.begin(Publishing(blobs))
