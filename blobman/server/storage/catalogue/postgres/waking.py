"""Who waits for changes, which any process may make: :class:`PostgresWaking`."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

import psycopg
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from zope.interface import implementer

from .....errors import BlobError
from ...waking import IWaking, Place, Waiters
from .changes import Changes
from .questions import Questions
from .sessions import Session, connect, store_errors

EVERY = 1.0
"""Seconds after which those who wait look by themselves."""

GATHERED = 0.05
"""Seconds for which changes are gathered before other processes are told of them."""

CHANNEL = "blobman"

_LONGEST = 7900
"""Bytes of a notification; PostgreSQL takes no 8000."""

Read = Callable[[Callable[[Questions], Any]], Deferred[Any]]
Write = Callable[[Callable[[Changes], Any]], Deferred[Any]]


@implementer(IReadDescriptor)
class _Listener:
    """
    A session on which notifications come.

    :param heard: called with the text of each.
    :param lost: called when no more will come.
    """

    def __init__(
        self,
        session: Session,
        reactor: Any,
        heard: Callable[[bytes], None],
        lost: Callable[[], None],
    ) -> None:
        self._session = session
        self._reactor = reactor
        self._heard = heard
        self._lost = lost
        # Of our own: libpq closes its one as soon as the connection is lost, before that can be
        # told to the reactor.
        self._descriptor = os.dup(session.fileno())
        reactor.addReader(self)

    def fileno(self) -> int:
        """Give the descriptor; see ``IFileDescriptor``."""
        return self._descriptor

    def logPrefix(self) -> str:
        """Name it; see ``ILoggingContext``."""
        return "blobman catalogue"

    def doRead(self) -> None:
        """Take what has come; see ``IReadDescriptor``."""
        try:
            self._session.pgconn.consume_input()
            while (notify := self._session.pgconn.notifies()) is not None:
                self._heard(notify.extra)
        except psycopg.Error:
            self.connectionLost(None)

    def connectionLost(self, reason: Any) -> None:
        """Take notice that nothing more will come; see ``IFileDescriptor``."""
        self.close()
        self._lost()

    def close(self) -> None:
        """Listen no more. May be called twice."""
        if self._descriptor >= 0:
            self._reactor.removeReader(self)
            os.close(self._descriptor)
            self._descriptor = -1
            self._session.close()


@implementer(IWaking)
class PostgresWaking:
    """
    Wakes those that wait in this process.

    What this process changes wakes them at once; what another one changes, by a notification that
    is sent after the commit. That is a hint, and may be lost: so all that wait look by themselves,
    with one question, whether there is a later number than they saw.

    :param clock: says when.
    :param read: asks the catalogue.
    :param write: changes something in it.
    """

    _log = Logger()

    def __init__(self, conninfo: str, reactor: Any, clock: Any, read: Read, write: Write) -> None:
        self._conninfo = conninfo
        self._reactor = reactor
        self._clock = clock
        self._read = read
        self._write = write
        self._waiters = Waiters(lambda call, places: call(places))
        self._seen: dict[Place, int] = {}
        self._changed: set[Place] = set()
        self._telling: Any = None
        self._listener: _Listener | None = None
        self._is_deaf = False
        self._origin = secrets.token_hex(8)
        self._looking: Deferred[Any] = succeed(None)
        self._loop = LoopingCall(self._look)
        self._loop.clock = clock

    # -- beginning and ending --------------------------------------------------------------

    def start(self) -> None:
        """Begin to listen, and to look."""
        self._looking = self._loop.start(EVERY)

    async def stop(self) -> None:
        """End, and wake everybody. What was not told yet is found by others."""
        if self._loop.running:
            self._loop.stop()
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
        await self._looking
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self._waiters.wake_all()

    # -- waiting -------------------------------------------------------------------------

    def wait(self, user: str, namespace: str) -> Deferred[None]:
        """Wait for a change; see :class:`IWaking`."""
        return self._waiters.wait(user, namespace)

    def saw(self, place: Place, number: int) -> None:
        """
        Take notice that somebody, who may wait, was told this number as the latest one.
        """
        if place in self._waiters.places:
            seen = self._seen.setdefault(place, number)
            if number != seen:
                self._wake([place])

    def _wake(self, places: Collection[Place]) -> None:
        for place in places:
            self._seen.pop(place, None)
        self._waiters.announce(places)

    # -- what this process changes -----------------------------------------------------------

    def announce(self, places: Iterable[Place]) -> None:
        """Tell that something has changed, or may have; from any thread."""
        if changed := {*places}:
            self._reactor.callFromThread(self._take, changed)

    def _take(self, changed: set[Place]) -> None:
        self._wake(changed)
        if self._loop.running:
            self._changed |= changed
            if self._telling is None:
                self._telling = self._clock.callLater(GATHERED, self._tell)

    def _tell(self) -> None:
        changed, self._changed, self._telling = self._changed, set(), None
        messages = [*write_messages(self._origin, sorted(changed))]
        # Others find it by themselves, only later.
        self._write(lambda it: it.notify(messages, CHANNEL)).addErrback(
            lambda failure: failure.trap(BlobError)
        )

    # -- what others change ----------------------------------------------------------------

    async def _look(self) -> None:
        try:
            await self._look_once()
        except BlobError:
            # The next one who asks for something is told.
            pass
        except Exception:
            # It has to go on all the same.
            self._log.failure("Looking for changes failed")

    async def _look_once(self) -> None:
        if self._listener is None:
            await self._listen()
        waited_for = self._waiters.places
        self._seen = {place: it for place, it in self._seen.items() if place in waited_for}
        if not waited_for:
            return
        places = [*waited_for]
        numbers = await self._read(lambda it: it.numbers(places))
        later = [it for it in places if self._is_later(it, numbers.get(it, 0))]
        self._wake(later)

    def _is_later(self, place: Place, number: int) -> bool:
        if place not in self._waiters.places:
            return False
        return number > self._seen.setdefault(place, number)

    async def _listen(self) -> None:
        try:
            session = await deferToThreadPool(
                self._reactor, self._reactor.getThreadPool(), _listening, self._conninfo
            )
        except BlobError as error:
            if not self._is_deaf:
                self._is_deaf = True
                self._log.warn(
                    "Changes of other servers are heard late: {reason}", reason=str(error)
                )
            return
        self._is_deaf = False
        if self._loop.running:
            self._listener = _Listener(session, self._reactor, self._hear, self._forget)
        else:
            session.close()

    def _forget(self) -> None:
        self._listener = None

    def _hear(self, text: bytes) -> None:
        self._wake([*read_message(self._origin, text)])


def _listening(conninfo: str) -> Session:
    session = connect(conninfo)
    try:
        with store_errors():
            session.execute(f"LISTEN {CHANNEL}".encode())
    except BaseException:
        session.close()
        raise
    return session


def write_messages(origin: str, places: Iterable[Place]) -> Iterator[str]:
    """Write messages that name places, none of which is too long."""
    some: list[str] = []
    size = 0
    for place in places:
        text = "/".join(place)
        if size + len(text) > _LONGEST and some:
            yield json.dumps([origin, *some])
            some, size = [], 0
        some.append(text)
        size += len(text) + 4
    if some:
        yield json.dumps([origin, *some])


def read_message(origin: str, text: bytes) -> list[Place]:
    """Read the places that a message names; none, if it is our own, or no message."""
    try:
        sender, *names = json.loads(text)
        places = [(user, namespace) for user, namespace in (it.split("/") for it in names)]
    except (ValueError, TypeError, AttributeError, RecursionError):
        return []
    return [] if sender == origin else places
