"""Reads what can be read of a damaged catalogue, and makes another one of it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from typing import Any

import apsw

from .... import disk
from ....sqlite import ask, transaction
from .connection import connect_copy, upgrade

Row = tuple[Any, ...]

_COLUMNS = {
    "blobs": "blob, place, id, number, date, size, tag, key, digest, flags, reused",
    "contents": "blob, content",
    "digests": "blob, digests",
}
"""Tables whose rows have numbers, the first column, none of which is above that of a change."""

_OTHERS = {
    "tombstones": "place, id",
    "garbage": "key",
    "quotas": "user",
    "tokens": "token",
    "store": "only_one",
}
"""Tables whose rows are in the order of these columns."""

_AT_ONCE = 64
"""Rows that are read together. A server that runs can empty its log in between."""


def read_rows(
    connection: apsw.Connection, statement: str, first: int, last: int
) -> Iterator[Row | int]:
    """
    Read rows, and go on behind what can't be read.

    :param statement: takes two numbers, and selects the rows between them in their order; the
        first column is the number.
    :return: rows; and the number of each one that can't be read, if it is there.
    """
    ranges = [(first, last)]
    while ranges:
        first, last = ranges.pop()
        try:
            rows = ask(connection, f"{statement} LIMIT {_AT_ONCE}", (first, last))
        except apsw.CorruptError:
            if first < last:
                middle = (first + last) // 2
                ranges += [(middle + 1, last), (first, middle)]
            else:
                yield first
        else:
            yield from rows
            if len(rows) == _AT_ONCE:
                ranges.append((rows[-1][0] + 1, last))


def highest_number(connection: apsw.Connection, acknowledged: int) -> int:
    """Give a number that no row is above, though something may not be readable."""
    highest = acknowledged
    for source in ("number) FROM places", "number) FROM blobs", "blob) FROM blobs"):
        with suppress(apsw.CorruptError):
            highest = max(highest, ask(connection, f"SELECT max({source}")[0][0] or 0)
    return highest


def rebuild(connection: apsw.Connection, path: str, acknowledged: int) -> None:
    """
    Make a catalogue of what can be read of another one. Its sums are not right yet.

    :param path: of the file to make; it will be durable, but for the entry of its folder.
    :param acknowledged: the last number that was acknowledged.
    :raise apsw.Error: the new one can't be written, or nothing of the old one can be read.
    """
    last = highest_number(connection, acknowledged)
    os.close(disk.create(path))
    with closing(connect_copy(path)) as made:
        upgrade(made)
        with transaction(made):
            _copy_places(connection, made, last)
            for table, columns in _COLUMNS.items():
                key = columns.partition(",")[0]
                statement = f"SELECT {columns} FROM {table} WHERE {key} BETWEEN ? AND ? ORDER BY 1"
                _insert(made, table, read_rows(connection, statement, 0, last))
            for table, order in _OTHERS.items():
                if not connection.table_exists("main", table):
                    # It is of an earlier version.
                    continue
                for direction in ("ASC", "DESC"):
                    by = ", ".join(f"{column} {direction}" for column in order.split(", "))
                    rows = _rows_until_damaged(connection, f"SELECT * FROM {table} ORDER BY {by}")
                    _insert(made, table, rows)


def _copy_places(connection: apsw.Connection, made: apsw.Connection, last: int) -> None:
    """Copy users and namespaces, which the table has, and the index beside it as well."""
    statement = (
        "SELECT place, user, namespace FROM places {} WHERE place BETWEEN ? AND ? ORDER BY 1"
    )
    for source in ("NOT INDEXED", "INDEXED BY sqlite_autoindex_places_1"):
        rows = read_rows(connection, statement.format(source), 0, last)
        _insert(made, "places", ((*row, 0, 0, 0, 0) for row in rows if not isinstance(row, int)))


def _rows_until_damaged(connection: apsw.Connection, statement: str) -> Iterator[Row]:
    with suppress(apsw.CorruptError):
        yield from connection.execute(statement)


def _insert(made: apsw.Connection, table: str, rows: Iterable[Row | int]) -> None:
    for row in rows:
        if not isinstance(row, int):
            values = ", ".join("?" * len(row))
            made.execute(f"INSERT OR IGNORE INTO {table} VALUES ({values})", row)
