"""Sessions that threads borrow: :class:`Pool`. All of this blocks."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import psycopg

from .....errors import StoreError
from ...interface import Queried, Queries, Sessions, UnavailableError
from .sessions import (
    HangingError,
    Session,
    as_store_error,
    connect,
    is_lost,
    is_transient,
    store_errors,
)

T = TypeVar("T")

ATTEMPTS = 3
"""How often something is tried at most."""

PAUSE = 1.0
"""Seconds after which it is tried again to reach a database that did not answer."""

QUICK = 0.5
"""Seconds within which nobody minds being refused."""


class Pool:
    """
    Sessions, of which as many are open as have been used at once.

    While the database does not answer, all that waits fails at once, not each after its own time.

    :param conninfo: see :func:`.sessions.read_url`.
    :param now: gives seconds.
    :ivar queries: called, in the thread, with what became of each request.
    """

    def __init__(self, conninfo: str, now: Callable[[], float] = time.monotonic) -> None:
        self._conninfo = conninfo
        self._now = now
        self.queries: Queries = []
        self._lock = threading.Lock()
        self._idle: list[Session] = []
        self._trouble: UnavailableError | None = None
        self._trouble_until = -math.inf
        self._busy = 0

    def sessions(self) -> Sessions:
        """Tell how many there are."""
        return Sessions(self._busy, len(self._idle))

    def ask(self, question: Callable[[Session], T]) -> T:
        """
        Ask something; again, if the connection is lost.

        :raise StoreError: the database can't be asked.
        """
        with self._told("ask"), store_errors():
            return self._repeat(question, lambda error: is_transient(error) or is_lost(error))

    def change(self, change: Callable[[Session], T]) -> T:
        """
        Change something. If it is not certain that nothing has been done, it is not done again.

        :raise StoreError: the database can't be changed; or that is not certain.
        """
        with self._told("change"), store_errors():
            return self._repeat(change, is_transient)

    @contextmanager
    def _told(self, operation: str) -> Iterator[None]:
        began, is_well = self._now(), True
        try:
            yield
        except StoreError:
            is_well = False
            raise
        finally:
            seconds = self._now() - began
            for observe in self.queries:
                observe(Queried(operation, seconds, is_well))

    def _repeat(
        self,
        call: Callable[[Session], T],
        may_repeat: Callable[[psycopg.Error], bool],
        attempts: int = ATTEMPTS,
    ) -> T:
        try:
            return self._use(call)
        except psycopg.OperationalError as error:
            if attempts == 1 or not may_repeat(error):
                raise
        return self._repeat(call, may_repeat, attempts - 1)

    def _use(self, call: Callable[[Session], T]) -> T:
        with self._borrowed() as session:
            try:
                return call(session)
            except HangingError as error:
                # The others are to the same.
                self.close()
                self._note(as_store_error(error))
                raise

    @contextmanager
    def _borrowed(self) -> Iterator[Session]:
        with self._lock:
            self._busy += 1
        session: Session | None = None
        try:
            session = self._take() or self._connect()
            yield session
        finally:
            with self._lock:
                self._busy -= 1
                if session is not None and session.is_idle:
                    self._idle.append(session)
                    session = None
            if session is not None:
                session.close()

    def _take(self) -> Session | None:
        """Take one that is still good; drop those that are not."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                session = self._idle.pop()
            if session.is_idle and session.is_alive:
                return session
            session.close()

    def _connect(self) -> Session:
        if self._trouble is not None and self._now() < self._trouble_until:
            raise UnavailableError(str(self._trouble), self._trouble.retry_after)
        began = self._now()
        try:
            return connect(self._conninfo)
        except UnavailableError as error:
            if self._now() - began > QUICK:
                self._note(error)
            raise

    def _note(self, error: StoreError) -> None:
        if isinstance(error, UnavailableError):
            self._trouble, self._trouble_until = error, self._now() + PAUSE

    def close(self) -> None:
        """Close those that nobody uses."""
        with self._lock:
            sessions, self._idle = self._idle, []
        for session in sessions:
            session.close()
