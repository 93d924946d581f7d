"""A catalogue in a database of PostgreSQL: :class:`PostgresCatalogue`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.threads import deferToThreadPool
from zope.interface import implementer

from .....model import Flags
from .....threads import Work
from ...interface import BlobName, Outcomes, Sessions
from ...payloads.interface import LINGER
from ...threads import CLOSED, Ending, Threads, Worker
from ..interface import History, ICatalogue, Publication
from .changes import Changes
from .lanes import Change, Deleting, Flagging, Lane, Publishing
from .pool import Pool
from .questions import Questions
from .upgrading import upgrade
from .waking import PostgresWaking

P = ParamSpec("P")
T = TypeVar("T")

READERS = 4
"""How many questions are asked at once."""

LANES = 2
"""How many transactions that change blobs are under way at once."""

WRITERS = 4
"""How many other changes are made at once."""

TOGETHER = 32
"""How many changes of blobs are committed together at most."""


def _asking(
    ask: Callable[Concatenate[Questions, P], T],
) -> Callable[Concatenate[PostgresCatalogue, P], Deferred[T]]:
    """Make a method that asks a question."""

    @wraps(ask)
    def method(self: PostgresCatalogue, /, *args: P.args, **named: P.kwargs) -> Deferred[T]:
        return self._read(lambda questions: ask(questions, *args, **named))

    return method


def _changing(
    change: Callable[Concatenate[Changes, P], T],
) -> Callable[Concatenate[PostgresCatalogue, P], Deferred[T]]:
    """Make a method that changes something that nobody waits for."""

    @wraps(change)
    def method(self: PostgresCatalogue, /, *args: P.args, **named: P.kwargs) -> Deferred[T]:
        return self._write(lambda changes: change(changes, *args, **named))

    return method


@implementer(ICatalogue)
class PostgresCatalogue:
    """
    Keeps the catalogue in a database, beside any number of other processes.

    :param conninfo: of the database; see :func:`.sessions.read_url`.
    :param reactor: where Deferreds fire; the global one if None.
    :param clock: says when to look for what others have changed; the reactor if None.
    :param linger: seconds for which the payloads of deleted blobs are kept.
    :ivar waking: tells where something has changed.
    :ivar queries: called, in any thread, with what became of each request.
    """

    def __init__(
        self, conninfo: str, reactor: Any = None, clock: Any = None, linger: int = LINGER
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self._reactor = reactor
        self._conninfo = conninfo
        self._linger = linger
        self._pool = Pool(conninfo)
        self.queries = self._pool.queries
        self.waking = PostgresWaking(conninfo, reactor, clock or reactor, self._read, self._write)
        self._reading: Worker = CLOSED
        self._writing: Worker = CLOSED
        self._lanes: list[Worker] = [CLOSED] * LANES
        self._ending = Ending(self._close)

    def sessions(self) -> Sessions:
        """Tell how many connections there are, but for the one that listens."""
        return self._pool.sessions()

    # -- opening and closing -----------------------------------------------------------

    def open(self) -> Deferred[None]:
        """Begin; see :class:`ICatalogue`. Uploads of other processes go on."""
        return Deferred.fromCoroutine(self._open())

    async def _open(self) -> None:
        self._ending = Ending(self._close)
        await self._block(lambda: upgrade(self._conninfo))
        try:
            self._start()
        except BaseException:
            await self.close()
            raise

    def _start(self) -> None:
        lane = Lane(self._pool, self.waking.announce)
        self._reading = Threads(self._reactor, "reader", READERS, self._ask_each)
        self._writing = Threads(self._reactor, "writer", WRITERS, self._change_each)
        for number in range(LANES):
            name = f"lane-{number}"
            self._lanes[number] = Threads(self._reactor, name, 1, lane.run, TOGETHER)
        self.waking.start()

    def _block(self, call: Callable[[], None]) -> Deferred[None]:
        """Do what blocks, before or after there are threads for it."""
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), call)

    def close(self) -> Deferred[None]:
        """End; see :class:`ICatalogue`."""
        return self._ending.reach()

    async def _close(self) -> None:
        await self.waking.stop()
        await gatherResults([it.close() for it in (self._reading, self._writing, *self._lanes)])
        await self._block(self._pool.close)

    # -- reading and writing -----------------------------------------------------------------

    def _ask_each(self, works: Sequence[Work[Any]]) -> None:
        for work in works:
            work.attempt(partial(self._pool.ask, work.call))

    def _change_each(self, works: Sequence[Work[Any]]) -> None:
        for work in works:
            work.attempt(partial(self._pool.change, work.call))

    def _read(self, ask: Callable[[Questions], T]) -> Deferred[T]:
        return self._reading.begin(lambda session: ask(Questions(session)))

    def _write(self, change: Callable[[Changes], T]) -> Deferred[T]:
        return self._writing.begin(lambda session: change(Changes(session, self._linger)))

    def _change(self, user: str, change: Change) -> Deferred[Any]:
        """Change blobs. Those of one user are changed one after another anyway."""
        return self._lanes[hash(user) % len(self._lanes)].begin(lambda: change)

    # -- what it is asked for --------------------------------------------------------------

    def publish(self, blobs: Sequence[Publication]) -> Deferred[Outcomes]:
        """Make blobs visible; see :class:`ICatalogue`."""
        if not blobs:
            return succeed([])
        return self._change(blobs[0].name.user, Publishing(blobs))

    def delete(self, name: BlobName) -> Deferred[None]:
        """Remove a blob; see :class:`ICatalogue`."""
        return self._change(name.user, Deleting(name, self._linger))

    def set_flags(self, name: BlobName, flags: Sequence[Flags]) -> Deferred[None]:
        """Replace flags; see :class:`ICatalogue`."""
        return self._change(name.user, Flagging(name, flags))

    def history(self, user: str, namespace: str, generation: str = "") -> Deferred[History]:
        """Tell where a namespace stands; see :class:`ICatalogue`."""

        def told(history: History) -> History:
            self.waking.saw((user, namespace), history.number)
            return history

        asking = self._read(lambda it: it.history(user, namespace, generation))
        return asking.addCallback(told)

    get_flags = _asking(Questions.get_flags)
    find = _asking(Questions.find)
    page = _asking(Questions.page)
    count = _asking(Questions.count)
    changes = _asking(Questions.changes)
    namespaces = _asking(Questions.namespaces)
    payload_rows = _asking(Questions.payload_rows)
    claimed_keys = _asking(Questions.claimed_keys)
    store_mark = _asking(Questions.store_mark)
    usage = _asking(Questions.usage)
    quotas = _asking(Questions.quotas)
    tokens = _asking(Questions.tokens)

    reserve = _changing(Changes.reserve)
    extend = _changing(Changes.extend)
    renew = _changing(Changes.renew)
    abandon = _changing(Changes.abandon)
    collect = _changing(Changes.collect)
    forget = _changing(Changes.forget)
    postpone = _changing(Changes.postpone)
    note_store_mark = _changing(Changes.note_store_mark)
    confirm_store_mark = _changing(Changes.confirm_store_mark)
    check_writing = _changing(Changes.check_writing)
    set_quota = _changing(Changes.set_quota)
    unset_quota = _changing(Changes.unset_quota)
