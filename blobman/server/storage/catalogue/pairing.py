"""
Whether a database and the log beside it belong together.

A log has the pages that were changed, and SQLite takes them for changes of whatever lies beside it.
With an older database that was put back alone, they make up a mixture. So a transaction that may be
the first one of a log counts, and notes how far the database had counted without that log: `number`
and `base` in the table `pairing`. A database that has not counted so far is an older one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import NamedTuple

import apsw

from ....errors import StoreError
from ....sqlite import ask, transaction
from ..interface import DamagedError
from .connection import connect, connect_copy, store_errors

_CACHE = 100_000


class PairingError(DamagedError):
    """A database and the log beside it do not belong together."""


class _Pairing(NamedTuple):
    """
    What has been counted.

    :ivar number: of the last transaction that may have begun a log.
    :ivar base: the least number that is in the database without its log.
    """

    number: int
    base: int


def _read(connection: apsw.Connection) -> _Pairing:
    if connection.table_exists("main", "pairing"):
        for number, base in ask(connection, "SELECT number, base FROM pairing"):
            return _Pairing(number, base)
    # It is new, or of an earlier version.
    return _Pairing(0, 0)


def _number_alone(path: str) -> int | None:
    """
    Read the number that a database has without its log.

    :return: None if that can't be read. A crash may have left half a page of which the log has all.
    """
    try:
        with closing(connect_copy(path, is_fixed=True)) as connection:
            return _read(connection).number
    except (apsw.Error, StoreError):
        return None


def check_pairing(path: str) -> None:
    """
    See whether a database and its log belong together. No server may be running.

    :param path: of the database.
    :raise PairingError: they do not.
    :raise DamagedError: what they have counted can't be read.
    """
    together = check_not_older(path)
    alone = _number_alone(path)
    if alone is not None and alone > together:
        raise PairingError(
            "catalogue.sqlite-wal is older than catalogue.sqlite, or damaged: put back the one "
            "that was there, or blobman server check --repair"
        )


def check_not_older(path: str) -> int:
    """
    See whether a database has what its log was begun with. No server may be running.

    :param path: of the database.
    :return: the number that it has with its log.
    :raise PairingError: it has not: it is an older one.
    :raise DamagedError: what they have counted can't be read.
    """
    with closing(connect(path, _CACHE)) as connection, store_errors():
        together = _read(connection)
    alone = _number_alone(path)
    if alone is not None and alone < together.base:
        raise PairingError(
            "catalogue.sqlite is older than the catalogue.sqlite-wal beside it: put back the one "
            "that was there. To go on with the older one, remove catalogue.sqlite-wal, and say "
            "that it was put back: blobman server restored"
        )
    return together.number


@contextmanager
def first_transaction(connection: apsw.Connection) -> Iterator[None]:
    """
    Write in the block, where that may begin a log; see :func:`.connection.transaction`.

    :raise apsw.Error: as there.
    """
    number = _read(connection).number
    _, frames, moved = ask(connection, "PRAGMA wal_checkpoint(NOOP)")[0]
    # If all has been moved by now, so has this; and it is durable.
    base = number if frames == moved else 0
    with transaction(connection):
        before = connection.total_changes()
        yield
        # One of an earlier version has not begun to count.
        if number and connection.total_changes() != before:
            connection.execute(
                "UPDATE pairing SET number = number + 1, base = max(base, ?)", (base,)
            )
