"""A catalogue in PostgreSQL that is made, or brought to the present version. All of this blocks."""

from __future__ import annotations

from psycopg import sql

from .....errors import StoreError
from .schema import UPGRADES, VERSION
from .sessions import SCHEMA, Session, connect, store_errors

_LOCK = 0x626C6F626D616E
"""The advisory lock of those who upgrade: ``blobman`` in ASCII."""


def upgrade(conninfo: str) -> None:
    """
    Make what is missing. Several processes may do so at once.

    :raise StoreError: that is not possible, or the catalogue is of a later version.
    """
    session = connect(conninfo)
    with session, store_errors():
        if check_version(session) < VERSION:
            _upgrade(session)


def check_version(session: Session) -> int:
    """
    Tell of which version a catalogue is.

    :return: 0 if it has not been made.
    :raise StoreError: it is of a later version.
    """
    table = session.execute("SELECT to_regclass(%s)", (f"{SCHEMA}.versions",)).fetchone()
    if table == (None,):
        return 0
    row = session.execute("SELECT max(version) FROM versions").fetchone()
    version = int(row[0]) if row and row[0] else 0
    if version > VERSION:
        raise StoreError(f"the catalogue is of a later version of blobman ({version})")
    return version


def _upgrade(session: Session) -> None:
    session.take_time()
    # Somebody else may be upgrading it.
    session.execute("SET lock_timeout = 0")
    # Outside of the transaction, which so begins after all that others have done.
    session.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
    with session.transaction():
        version = check_version(session)
        if not version:
            session.execute(
                sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(SCHEMA))
            )
            session.execute("CREATE TABLE versions (version bigint PRIMARY KEY)")
        for number, statements in enumerate(UPGRADES[version:], version + 1):
            for statement in statements:
                session.execute(statement.encode())
            session.execute("INSERT INTO versions VALUES (%s)", (number,))
