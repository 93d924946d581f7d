"""Connections to PostgreSQL, and what its errors mean. All of this blocks."""

from __future__ import annotations

import select
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus

from .....errors import StoreError
from ...interface import DamagedError, UnavailableError

SCHEMA = "blobman"
"""The schema of all tables, in whatever database."""

LIMIT = 15.0
"""Seconds after which a database that has not answered is given up."""

_CONNECTING = 5
"""Seconds for a connection."""

_SETTINGS = {
    "search_path": SCHEMA,
    # The database ends by itself what takes too long, so that it is certain what came of it.
    "statement_timeout": "10s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "20s",
    # Who has waited for a lock has to see what was committed meanwhile.
    "default_transaction_isolation": "read committed",
    # All that is asked for is in the order of an index: no statistics, or old ones, are to talk it
    # into reading a whole namespace for a page.
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_sort": "off",
    "jit": "off",
}

_OLDEST = 130000

_CHECK = """
    SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean,
        current_setting('server_version_num')::int,
        current_setting('server_encoding'),
        current_setting('synchronous_commit'),
        current_setting('fsync'),
        CASE WHEN pg_is_in_recovery() THEN ''
            ELSE left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) END
"""

_TRANSIENT = {"40001", "40P01"}
"""A deadlock, and what is like one: what was to be done has not been done, and can be now."""


class HangingError(psycopg.OperationalError):
    """The database has not answered. What it was to do may be done later."""


class Session(psycopg.Connection[tuple[Any, ...]]):
    """
    A connection that waits for no answer longer than :data:`LIMIT`.

    :ivar limit: the seconds that it waits; None for any number.
    :ivar timeline: which history of the whole database this is: another one after a standby was
        promoted, or a backup was put back.
    """

    timeline = ""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.limit: float | None = LIMIT

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait for an answer; raise ``psycopg.OperationalError`` if it does not come."""
        try:
            return super().wait(gen, interval, self.limit if timeout is None else timeout)
        except psycopg.OperationalError as error:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                raise HangingError("it does not answer") from error
            raise

    def take_time(self) -> None:
        """Wait for answers, but not for locks, for as long as it takes from now on."""
        self.limit = None
        self.execute("SET statement_timeout = 0")

    @property
    def is_idle(self) -> bool:
        """Whether it can be used, as far as is known here."""
        return not self.closed and self.pgconn.transaction_status == TransactionStatus.IDLE

    @property
    def is_alive(self) -> bool:
        """Whether the other end has said nothing: if it speaks unasked, it says good-bye."""
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        if not poll.poll(0):
            return True
        try:
            self.pgconn.consume_input()
        except psycopg.Error:
            return False
        return not poll.poll(0)


def read_url(url: str) -> str:
    """
    Read a URL, or what else libpq takes for one.

    :return: what :func:`connect` needs.
    :raise ValueError: it is none. What is said does not show it: there may be a password in it.
    """
    try:
        given = conninfo_to_dict(url)
    except psycopg.Error:
        raise ValueError("that is no URL of a database of PostgreSQL") from None
    ours: dict[str, str | int | None] = {
        "connect_timeout": _CONNECTING,
        # Of several hosts, the one that can be written.
        "target_session_attrs": "read-write",
        "fallback_application_name": "blobman",
        "keepalives_idle": 30,
        "tcp_user_timeout": round(LIMIT * 1000),
    }
    return make_conninfo("", **{**ours, **given, "client_encoding": "UTF8"})


def connect(conninfo: str) -> Session:
    """
    Connect to a database, and see that it is one that can keep a promise.

    :param conninfo: see :func:`read_url`.
    :raise UnavailableError: it can't be reached, or is a standby.
    :raise StoreError: it is not fit.
    """
    with store_errors():
        session = Session.connect(conninfo, autocommit=True)
        try:
            _set_up(session)
        except BaseException:
            session.close()
            raise
    return session


def _set_up(session: Session) -> None:
    for name, value in _SETTINGS.items():
        setting = sql.SQL("SET {} = {}").format(sql.Identifier(name), sql.Literal(value))
        session.execute(setting)
    row = session.execute(_CHECK).fetchone()
    assert row is not None
    is_standby, version, encoding, commit, sync, session.timeline = row
    if is_standby:
        raise UnavailableError("the database can only be read: it is a standby", 5)
    if version < _OLDEST:
        raise StoreError("the database is older than PostgreSQL 13")
    if encoding != "UTF8":
        raise StoreError(f"the database's encoding has to be UTF8, and is {encoding}")
    if commit not in ("on", "remote_apply"):
        raise StoreError(f"the database's synchronous_commit has to be on, and is {commit}")
    if sync != "on":
        raise StoreError(f"the database's fsync has to be on, and is {sync}")


@contextmanager
def store_errors() -> Iterator[None]:
    """
    Raise psycopg's errors in the block as ours.

    :raise UnavailableError: the database can't be used now.
    :raise DamagedError: what it keeps is damaged.
    """
    try:
        yield
    except psycopg.Error as error:
        raise as_store_error(error) from error


def as_store_error(error: psycopg.Error) -> StoreError:
    """Say what an error means."""
    state, reason = error.sqlstate or "", _first_line(error)
    if state in ("XX001", "XX002"):
        return DamagedError(f"the database is damaged: {reason}")
    if state == "53100":
        return UnavailableError("the database has no room")
    if state in ("55P03", "57014", *_TRANSIENT):
        return UnavailableError(f"the database is too busy: {reason}", 5)
    if not state or state[:2] in ("08", "25", "53", "57"):
        return UnavailableError(f"the database can't be reached: {reason}", 5)
    return UnavailableError(f"the database can't be used: {reason}")


def _first_line(error: psycopg.Error) -> str:
    # What follows may show what was written.
    return error.diag.message_primary or str(error).partition("\n")[0]


def is_transient(error: psycopg.Error) -> bool:
    """Tell whether nothing has been done, and it may be tried again at once."""
    return error.sqlstate in _TRANSIENT


def is_lost(error: psycopg.Error) -> bool:
    """Tell whether the connection is lost, and another one may be better."""
    is_gone = not error.sqlstate or error.sqlstate[:3] == "57P"
    return is_gone and not isinstance(error, HangingError)


def is_refused(error: psycopg.Error) -> bool:
    """Tell whether the database has said that nothing has been done."""
    state = error.sqlstate or ""
    return state == "57014" or (bool(state) and state[:2] not in ("08", "57"))
