"""Beside the servers that may run: what an administrator does to a catalogue. All of it blocks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from zope.interface import implementer

from .....errors import StoreError
from ....accounts.interface import ITokens, Tokens
from ....accounts.tokens import check_is_free, new_token
from .changes import Changes
from .questions import Questions
from .schema import VERSION
from .sessions import Session, connect, store_errors
from .upgrading import check_version, upgrade


def _connect(conninfo: str) -> Session:
    """Connect for as long as it takes: an administrator waits, and can end it."""
    session = connect(conninfo)
    session.take_time()
    return session


@contextmanager
def asking(conninfo: str) -> Iterator[Questions]:
    """
    Ask a catalogue something.

    :raise StoreError: there is none, or it can't be read.
    """
    session = _connect(conninfo)
    with session, store_errors():
        version = check_version(session)
        if not version:
            raise StoreError("no server has used the database yet: it has no catalogue")
        if version < VERSION:
            raise StoreError("the catalogue is of an earlier version: start a server of this one")
        yield Questions(session)


@contextmanager
def writing(conninfo: str) -> Iterator[Session]:
    """
    Write in one transaction. The catalogue is made if there is none.

    :raise StoreError: it can't be written.
    """
    upgrade(conninfo)
    session = _connect(conninfo)
    with session, store_errors(), session.transaction():
        yield session


@contextmanager
def changing(conninfo: str) -> Iterator[Changes]:
    """
    Change something in one transaction. The catalogue is made if there is none.

    :raise StoreError: it can't be written.
    """
    with writing(conninfo) as session:
        yield Changes(session)


def begin_history(conninfo: str) -> int:
    """
    Take the catalogue as it is for the right one, after a backup was put back: have clients compare
    everything with it, and forget what has been deleted. In a copy that was put back, a tombstone
    may be that of a blob whose id was used again after the copy was made.

    :return: how many changes it has.
    :raise StoreError: there is none, or it can't be written.
    """
    with asking(conninfo):
        pass
    with writing(conninfo) as session:
        # Nobody changes anything meanwhile.
        session.execute("LOCK TABLE accounts, places IN EXCLUSIVE MODE")
        session.execute("DELETE FROM tombstones")
        session.execute(
            "UPDATE places SET deleted = (SELECT count(*) FROM blobs"
            " WHERE blobs.place = places.place AND reused) WHERE deleted > 0"
        )
        session.execute("UPDATE generations SET name = replace(gen_random_uuid()::text, '-', '')")
        row = session.execute("SELECT coalesce(sum(number), 0)::bigint FROM places").fetchone()
        return int(row[0]) if row else 0


@implementer(ITokens)
class PostgresTokens:
    """
    The tokens in a catalogue that servers may have.

    :param conninfo: of the database; see :func:`.sessions.read_url`. The catalogue is made with the
        first token, if need be.
    :param now: gives seconds since the epoch.
    """

    def __init__(self, conninfo: str, now: Callable[[], float] = time.time) -> None:
        self._conninfo = conninfo
        self._now = now

    def add(self, user: str, label: str = "") -> str:
        """Make a token; see :class:`.ITokens`."""
        token, info = new_token(user, label, self._now())
        with writing(self._conninfo) as session:
            # One administrator at a time: of two, both might find a label free.
            session.execute("LOCK TABLE tokens IN SHARE ROW EXCLUSIVE MODE")
            check_is_free(label, Questions(session).tokens(user))
            session.execute(
                "INSERT INTO tokens (user_name, id, created, digest, label)"
                " VALUES (%s, %s, %s, %s, %s)",
                (user, info.token_id, info.created, info.digest, label),
            )
        return token

    def list(self, user: str | None = None) -> Tokens:
        """List tokens; see :class:`.ITokens`."""
        session = _connect(self._conninfo)
        with session, store_errors():
            return Questions(session).tokens(user) if check_version(session) else []

    def revoke(self, user: str, name: str | None = None) -> int:
        """Forget tokens; see :class:`.ITokens`."""
        if not self.list(user):
            return 0
        with writing(self._conninfo) as session:
            return session.execute(
                "DELETE FROM tokens WHERE user_name = %(user)s AND (%(name)s::text IS NULL"
                " OR id = %(name)s OR (label = %(name)s AND label <> ''))",
                {"user": user, "name": name},
            ).rowcount
