"""What was kept elsewhere, written into a catalogue that has just been made: :class:`Filling`."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, NamedTuple

import apsw

from ....model import Flags
from ..interface import BlobName
from .rows import row_digest, write_flags

_TOGETHER = 500
"""How many rows are inserted by one statement after another, before others are."""


class Kept(NamedTuple):
    """
    A blob as it was kept.

    :ivar date: when it was put, in nanoseconds since the epoch.
    :ivar key: of its payload; None if the catalogue is to keep the content.
    """

    name: BlobName
    size: int
    tag: bytes
    date: int
    flags: tuple[Flags, ...] = ()
    key: str | None = None
    content: bytes = b""


class _Rows:
    """Rows that wait to be inserted."""

    def __init__(self, connection: apsw.Connection, statement: str) -> None:
        self._connection = connection
        self._statement = statement
        self._rows: list[Sequence[Any]] = []

    def add(self, row: Sequence[Any]) -> None:
        self._rows.append(row)
        if len(self._rows) == _TOGETHER:
            self.flush()

    def flush(self) -> None:
        self._connection.executemany(self._statement, self._rows)
        self._rows.clear()


class Filling:
    """
    Fills the tables. Blobs and tombstones take numbers in the order in which they come; those of
    one namespace had better come together.

    :param connection: is in a transaction.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._last = 0
        self._place = 0
        self._is_in: tuple[str, str] | None = None
        self._blobs = self._size = 0
        self._blob_rows = _Rows(
            connection,
            "INSERT INTO blobs (blob, place, id, number, date, size, tag, key, digest, flags,"
            " reused) VALUES (?1, ?2, ?3, ?1, ?4, ?5, ?6, ?7, ?8, ?9, 0)",
        )
        self._tombstone_rows = _Rows(
            connection,
            "INSERT INTO tombstones (place, id, number, date, tag) VALUES (?, ?, ?, ?, x'')",
        )

    def _run(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._connection.execute(statement, values).fetchall()

    def _next_number(self, name: BlobName) -> int:
        if self._is_in != name[:2]:
            self._leave_place()
            self._enter_place(*name[:2])
        self._last += 1
        return self._last

    def _enter_place(self, user: str, namespace: str) -> None:
        self._is_in = user, namespace
        self._run(
            "INSERT OR IGNORE INTO places (user, namespace, blobs, deleted, size, number)"
            " VALUES (?, ?, 0, 0, 0, 0)",
            self._is_in,
        )
        [(self._place,)] = self._run(
            "SELECT place FROM places WHERE user = ? AND namespace = ?", self._is_in
        )

    def _leave_place(self) -> None:
        self._blob_rows.flush()
        self._tombstone_rows.flush()
        self._run(
            "UPDATE places SET blobs = blobs + ?, size = size + ?, number = ? WHERE place = ?",
            (self._blobs, self._size, self._last, self._place),
        )
        self._blobs = self._size = 0

    def add_blob(self, blob: Kept) -> None:
        """Take a blob, which has not come before."""
        number = self._next_number(blob.name)
        digest = row_digest(blob.name, blob.size, blob.tag, blob.key, blob.content)
        self._blob_rows.add(
            (
                number,
                self._place,
                blob.name.blob_id,
                blob.date,
                blob.size,
                blob.tag,
                blob.key,
                digest,
                write_flags(blob.flags),
            )
        )
        if blob.key is None:
            self._run("INSERT INTO contents (blob, content) VALUES (?, ?)", (number, blob.content))
        self._blobs += 1
        self._size += blob.size

    def add_tombstone(self, name: BlobName, date: int) -> None:
        """
        Take a tombstone. If there is a blob, before or after, its id has been used again.

        :param date: when the blob was deleted, in nanoseconds since the epoch.
        """
        number = self._next_number(name)
        self._tombstone_rows.add((self._place, name.blob_id, number, date))

    def add_garbage(self, key: str) -> None:
        """Take the key of what can be removed as soon as all of this is durable."""
        self._run("INSERT OR IGNORE INTO garbage (key, due) VALUES (?, 0)", (key,))

    def set_quota(self, user: str | None, size: int | None) -> None:
        """
        Take a quota.

        :param user: None for the default one.
        :param size: bytes, or None for no limit.
        """
        self._run("INSERT OR REPLACE INTO quotas (user, size) VALUES (?, ?)", (user or "", size))

    def finish(self) -> int:
        """
        Write what is said of all together.

        :return: how many tombstones there are, of ids that have not been used again.
        """
        self._leave_place()
        self._run(
            "UPDATE blobs SET reused = 1 FROM tombstones AS t"
            " WHERE t.place = blobs.place AND t.id = blobs.id"
        )
        self._run(
            "DELETE FROM tombstones WHERE EXISTS (SELECT 1 FROM blobs AS b"
            " WHERE b.reused AND b.place = tombstones.place AND b.id = tombstones.id)"
        )
        self._run(
            "UPDATE places SET deleted ="
            " (SELECT count(*) FROM tombstones AS t WHERE t.place = places.place)"
            " + (SELECT count(*) FROM blobs AS b WHERE b.place = places.place AND b.reused)"
        )
        if self._last:
            self._run(
                "INSERT INTO generations (first, name) VALUES (1, ?)", (secrets.token_hex(16),)
            )
        return int(self._run("SELECT count(*) FROM tombstones")[0][0])
