"""
Many rows of the index at once, in few statements: at each, another thread may take its turn.

All of this blocks.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .storage import BlobName

if TYPE_CHECKING:
    from .index import Entry

THIS = "user = ? AND namespace = ? AND id = ?"
"""The condition for one name."""

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


def _known(
    reader: sqlite3.Connection, table: str, column: str, names: Sequence[BlobName]
) -> dict[BlobName, int]:
    """Look names up in a table."""
    # The order of a CROSS JOIN is kept: a search for each name, and no walk through the table.
    statement = (
        f"WITH wanted (user, namespace, id) AS (VALUES {_places(names)})"
        f" SELECT user, namespace, id, {column}"
        f" FROM wanted CROSS JOIN {table} USING (user, namespace, id)"
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
