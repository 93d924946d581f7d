"""Which record of the journal counts: the last one of each name. They are kept in a table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import apsw

from ..interface import BlobName
from .journal import Record

_AT_ONCE = 500
"""How many are in memory at a time."""

_FORGET = "DELETE FROM last_records WHERE user = ? AND namespace = ? AND id = ?"


class Put(NamedTuple):
    """
    A blob that is to be there.

    :ivar segment: in which segment its content is.
    :ivar date: in nanoseconds since the epoch; 0 if that is not known.
    :ivar is_doubtful: a later record may have been lost which said that the files are right.
    """

    name: BlobName
    segment: int
    date: int
    start: int
    end: int
    is_doubtful: bool


class LastRecords:
    """
    The last records. There may be more than memory should hold.

    :param connection: is in a transaction, which makes the table and drops it again.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        connection.execute(
            """
            CREATE TABLE last_records (
                user TEXT, namespace TEXT, id TEXT, segment INTEGER, date INTEGER, start INTEGER,
                "end" INTEGER, is_doubtful INTEGER, PRIMARY KEY (user, namespace, id)
            ) WITHOUT ROWID
            """
        )

    def note(self, segment: int, record: Record) -> None:
        """Take the next record."""
        if record.is_put:
            self._connection.execute(
                "INSERT OR REPLACE INTO last_records VALUES (?, ?, ?, ?, ?, ?, ?, 0)",
                (*record.name, segment, record.date, record.start, record.end),
            )
        else:
            self.forget(record.name)

    def doubt(self) -> None:
        """Something was lost after all that were noted."""
        self._connection.execute("UPDATE last_records SET is_doubtful = 1")

    def puts(self) -> Iterator[Put]:
        """Give the blobs that are to be there, namespace by namespace. They may be forgotten."""
        name = BlobName("", "", "")
        rows: list[tuple[Any, ...]]
        while rows := self._connection.execute(
            "SELECT * FROM last_records WHERE (user, namespace, id) > (?, ?, ?)"
            f" ORDER BY user, namespace, id LIMIT {_AT_ONCE}",
            name,
        ).fetchall():
            for user, namespace, blob_id, segment, date, start, end, is_doubtful in rows:
                name = BlobName(user, namespace, blob_id)
                yield Put(name, segment, date, start, end, bool(is_doubtful))

    def forget(self, name: BlobName) -> None:
        """The files of a name are right."""
        self._connection.execute(_FORGET, name)

    def has(self, name: BlobName) -> bool:
        """Tell whether a blob is to be there."""
        found = self._connection.execute(
            "SELECT 1 FROM last_records WHERE user = ? AND namespace = ? AND id = ?", name
        )
        return bool(found.fetchall())

    def drop(self) -> None:
        """Forget them."""
        self._connection.execute("DROP TABLE last_records")
