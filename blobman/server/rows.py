"""
Many rows of the index at once, in few statements: at each, another thread may take its turn.

All of this blocks.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .storage import BlobName

if TYPE_CHECKING:
    from .index import Entry

THIS = "user = ? AND namespace = ? AND id = ?"
"""The condition for one name."""

_NAME = "user, namespace, id"

MOST = 100
"""How many names there may be at once: the parameters of a statement are limited."""


def note(writer: sqlite3.Connection, entries: Sequence[tuple[BlobName, Entry]]) -> list[int]:
    """
    Take down what is known about names, each of which comes once.

    :param entries: one, or more, but not more than :data:`MOST`.
    :return: for each, by how many bytes the user's blobs have grown.
    """
    names = [name for name, _ in entries]
    sizes = _known(writer, "blobs", "size", names)
    blobs = [
        (*name, entry.size, entry.changed, entry.flags, entry.sidecar)
        for name, entry in entries
        if entry.size is not None
    ]
    _replace(writer, "blobs", blobs)
    _delete(writer, "blobs", [it for it, entry in entries if entry.size is None and it in sizes])
    marks = _known(writer, "tombstones", "changed", names)
    made = [
        (*name, entry.deleted)
        for name, entry in entries
        if entry.deleted is not None and entry.deleted != marks.get(name)
    ]
    _replace(writer, "tombstones", made)
    gone = [it for it, entry in entries if entry.deleted is None and it in marks]
    _delete(writer, "tombstones", gone)
    return [(entry.size or 0) - sizes.get(name, 0) for name, entry in entries]


def agree(reader: sqlite3.Connection, entries: Mapping[BlobName, Entry]) -> bool:
    """
    Tell whether all that is known about names is this.

    :param entries: not more than :data:`MOST`.
    """
    blobs = [
        (*name, entry.size, entry.changed, entry.flags, entry.sidecar)
        for name, entry in entries.items()
        if entry.size is not None
    ]
    marks = [(*name, it.deleted) for name, it in entries.items() if it.deleted is not None]
    return (
        _count(reader, "blobs", _NAME, [*entries]) == len(blobs)
        and _count(reader, "tombstones", _NAME, [*entries]) == len(marks)
        and _count(reader, "blobs", f"{_NAME}, size, changed, flags, sidecar", blobs) == len(blobs)
        and _count(reader, "tombstones", f"{_NAME}, changed", marks) == len(marks)
    )


def _count(
    reader: sqlite3.Connection, table: str, columns: str, rows: Sequence[tuple[str | int, ...]]
) -> int:
    """Count the rows of a table that are among these."""
    if not rows:
        return 0
    statement = (
        f"WITH wanted ({columns}) AS (VALUES {_places(rows)})"
        f" SELECT count(*) FROM wanted CROSS JOIN {table} USING ({columns})"
    )
    (number,) = reader.execute(statement, [value for row in rows for value in row]).fetchone()
    return int(number)


def _known(
    reader: sqlite3.Connection, table: str, column: str, names: Sequence[BlobName]
) -> dict[BlobName, int]:
    """Look names up in a table."""
    # The order of a CROSS JOIN is kept: a search for each name, and no walk through the table.
    statement = (
        f"WITH wanted ({_NAME}) AS (VALUES {_places(names)})"
        f" SELECT {_NAME}, {column} FROM wanted CROSS JOIN {table} USING ({_NAME})"
    )
    found = reader.execute(statement, [part for name in names for part in name])
    return {BlobName(user, namespace, blob_id): value for user, namespace, blob_id, value in found}


def _replace(writer: sqlite3.Connection, table: str, rows: Sequence[tuple[str | int, ...]]) -> None:
    if rows:
        statement = f"INSERT OR REPLACE INTO {table} VALUES {_places(rows)}"
        writer.execute(statement, [value for row in rows for value in row])


def _places(rows: Sequence[tuple[object, ...]]) -> str:
    """Write the places of the values of rows."""
    row = f"({', '.join('?' * len(rows[0]))})"
    return ", ".join([row] * len(rows))


def _delete(writer: sqlite3.Connection, table: str, names: Sequence[BlobName]) -> None:
    writer.executemany(f"DELETE FROM {table} WHERE {THIS}", names)
