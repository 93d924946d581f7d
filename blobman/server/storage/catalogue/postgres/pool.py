"""Sessions that threads borrow: :class:`Pool`. All of this blocks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import psycopg

from .sessions import Session, connect, is_lost, is_transient, store_errors

T = TypeVar("T")

ATTEMPTS = 3
"""How often something is tried at most."""


class Pool:
    """
    Sessions, of which as many are open as have been used at once.

    :param conninfo: see :func:`.sessions.read_url`.
    :ivar busy: how many are being used.
    """

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._lock = threading.Lock()
        self._idle: list[Session] = []
        self.busy = 0

    @property
    def idle(self) -> int:
        """How many are open, and not being used."""
        return len(self._idle)

    def ask(self, question: Callable[[Session], T]) -> T:
        """
        Ask something; again, if the connection is lost.

        :raise StoreError: the database can't be asked.
        """
        with store_errors():
            return self._repeat(question, lambda error: is_transient(error) or is_lost(error))

    def change(self, change: Callable[[Session], T]) -> T:
        """
        Change something. If it is not certain that nothing has been done, it is not done again.

        :raise StoreError: the database can't be changed; or that is not certain.
        """
        with store_errors():
            return self._repeat(change, is_transient)

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
            return call(session)

    @contextmanager
    def _borrowed(self) -> Iterator[Session]:
        with self._lock:
            self.busy += 1
        session: Session | None = None
        try:
            session = self._take() or connect(self._conninfo)
            yield session
        finally:
            with self._lock:
                self.busy -= 1
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

    def close(self) -> None:
        """Close those that nobody uses."""
        with self._lock:
            sessions, self._idle = self._idle, []
        for session in sessions:
            session.close()
