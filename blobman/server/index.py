"""
A list of what the folder holds, in SQLite, so that lists and counts need no walk.

It is made from the files and never believed against them: what is told from it is held against
the files first (``listing.py``), a server that was not closed in order compares all of it with
them before it serves, and every server does so now and then while it serves (``watching.py``).
All of this blocks; it may be called from several threads.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from ..errors import StoreError
from ..model import Flags
from ..protocol import ListQuery
from . import disk, rows
from .storage import BlobName, Ids

_VERSION = 2
_SCHEMA = """
    CREATE TABLE blobs (
        user TEXT, namespace TEXT, id TEXT, size INTEGER, changed INTEGER, flags INTEGER,
        sidecar INTEGER, PRIMARY KEY (user, namespace, id)
    ) WITHOUT ROWID;
    CREATE INDEX blobs_by_date ON blobs (user, namespace, changed, id);
    CREATE INDEX blobs_with_flags ON blobs (user, namespace, id, flags) WHERE flags != 0;
    CREATE TABLE tombstones (
        user TEXT, namespace TEXT, id TEXT, changed INTEGER,
        PRIMARY KEY (user, namespace, id)
    ) WITHOUT ROWID;
    CREATE INDEX tombstones_by_date ON tombstones (user, namespace, changed, id);
    CREATE TABLE state (clean INTEGER);
    INSERT INTO state VALUES (0);
"""

Places = list[tuple[str, str]]
Values = list[str | int]

PREFIX = 3
"""Letters of an id by which parts of a namespace are told apart."""

_BITS = {flag: 1 << number for number, flag in enumerate(Flags)}


class Entry(NamedTuple):
    """
    What is known about a name.

    :ivar size: the blob's bytes; None if there is no blob.
    :ivar changed: the blob's modification time, nanoseconds since the epoch.
    :ivar flags: the blob's flags, as bits; see :func:`bits`.
    :ivar deleted: the tombstone's modification time; None if there is none.
    :ivar sidecar: what identifies the flags' file as it is; see :func:`checking.mark_of`.
    """

    size: int | None
    changed: int
    flags: int
    deleted: int | None
    sidecar: int = 0


NOTHING = Entry(None, 0, 0, None)


def _is_damage(error: sqlite3.Error) -> bool:
    """Tell a damaged file from one that can't be read or written now."""
    return type(error) is sqlite3.DatabaseError or str(error).startswith("no such ")


def bits(flags: Iterable[Flags]) -> int:
    """Write a set of flags as a number."""
    number = 0
    for flag in flags:
        number |= _BITS[flag]
    return number


class Index:
    """
    The list.

    :param path: the database file; it is made if need be, and made anew if it is damaged.
    :ivar path: the same.
    :ivar is_damaged: whether it has been found to be; it then answers nothing any more, and is made
        anew when it is opened the next time.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.is_damaged = False
        self._lock = threading.RLock()
        self._writer: sqlite3.Connection | None = None
        self._idle_readers: list[sqlite3.Connection] = []

    # -- opening and closing ---------------------------------------------------------

    def open(self, anew: bool = False) -> bool:
        """
        Open it.

        :param anew: begin with an empty one.
        :return: whether it was closed in order, so that it is likely to be right.
        :raise StoreError: it can't be written.
        """
        self._end()
        if anew:
            self._remove()
        self.is_damaged = False
        try:
            with self._judged():
                return self._begin()
        except StoreError:
            if not self.is_damaged:
                raise
        self._end()
        self.is_damaged = False
        with self._judged():
            return self._begin()

    @contextmanager
    def _judged(self) -> Iterator[None]:
        """Turn SQLite's errors into ours, and see what they mean."""
        if self.is_damaged:
            raise StoreError("the index is damaged; the next start makes it anew")
        try:
            yield
        except sqlite3.Error as error:
            if _is_damage(error):
                self.is_damaged = True
                # Whatever happens, nobody shall use it again.
                self._remove()
            raise StoreError(f"the index can't be used: {error}") from error

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    def _begin(self) -> bool:
        if not os.path.exists(self.path):
            os.close(disk.create(self.path))
        self._writer = writer = self._connect()
        (version,) = writer.execute("PRAGMA user_version").fetchone()
        if version != _VERSION:
            if version or writer.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                raise sqlite3.DatabaseError("of another version")
            writer.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT")
        (was_clean,) = writer.execute("SELECT clean FROM state").fetchone()
        if not was_clean and writer.execute("PRAGMA integrity_check(1)").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("parts of it contradict each other")
        self._mark(False)
        return bool(was_clean)

    def _mark(self, clean: bool) -> None:
        writer = self._get_writer()
        writer.execute("PRAGMA synchronous = FULL")
        writer.execute("UPDATE state SET clean = ?", [clean])
        writer.execute("PRAGMA synchronous = NORMAL")

    def _remove(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            if os.path.exists(self.path + suffix):
                os.unlink(self.path + suffix)

    def close(self, clean: bool) -> None:
        """
        Close it. What can't be written is left; it is then not in order.

        :param clean: whether it is known to be right.
        """
        with self._lock:
            with suppress(sqlite3.Error):
                if self._writer is not None and clean:
                    self._mark(True)
            self._end()

    def _end(self) -> None:
        for connection in filter(None, [self._writer, *self._idle_readers]):
            with suppress(sqlite3.Error):
                connection.close()
        self._writer, self._idle_readers = None, []

    def _get_writer(self) -> sqlite3.Connection:
        if self._writer is None:
            raise sqlite3.ProgrammingError("the index is closed")
        return self._writer

    # -- changing --------------------------------------------------------------------

    def note_all(self, entries: Iterable[tuple[BlobName, Entry]]) -> list[int]:
        """
        Take down what is known about many names, each of which comes once, as one transaction.

        :return: for each, what :meth:`note` does.
        """
        noted = list(entries)
        with self._lock, self._judged():
            writer = self._get_writer()
            writer.execute("BEGIN IMMEDIATE")
            try:
                grown: list[int] = []
                for start in range(0, len(noted), rows.MOST):
                    grown += rows.note(writer, noted[start : start + rows.MOST])
                writer.execute("COMMIT")
            except BaseException:
                if writer.in_transaction:
                    writer.execute("ROLLBACK")
                raise
            return grown

    def note(self, name: BlobName, entry: Entry) -> int:
        """
        Take down what is known about a name.

        :return: by how many bytes the user's blobs have grown.
        """
        (grown,) = self.note_all([(name, entry)])
        return grown

    # -- asking ----------------------------------------------------------------------

    def look_up(self, name: BlobName) -> Entry:
        """Say what is known about a name."""
        with self._lock, self._judged():
            writer = self._get_writer()
            columns = "size, changed, flags, sidecar"
            blob = writer.execute(f"SELECT {columns} FROM blobs WHERE {rows.THIS}", name).fetchone()
            mark = writer.execute(
                f"SELECT changed FROM tombstones WHERE {rows.THIS}", name
            ).fetchone()
        size, changed, flags, sidecar = blob or (None, 0, 0, 0)
        return Entry(size, changed, flags, mark[0] if mark else None, sidecar)

    def agrees(self, entries: Mapping[BlobName, Entry]) -> bool:
        """
        Tell whether all that is known about names is this.

        :param entries: not more than :data:`rows.MOST`.
        """
        with self.reading() as reader:
            return rows.agree(reader, entries)

    def list(self, user: str, query: ListQuery) -> Ids:
        """List ids; see :class:`IBlobsBackend`."""
        condition, values = _condition(user, query)
        order = {None: "id", "-date": "changed DESC, id DESC"}.get(query.order_by, "changed, id")
        # SQLite joins them without holding up other threads, as a row each would.
        inner = f"SELECT id FROM {condition} ORDER BY {order}"
        (joined,) = self._ask(f"SELECT group_concat(id, ' ') FROM ({inner})", values)
        return joined.split(" ") if joined else []

    def count(self, user: str, query: ListQuery) -> int:
        """Count ids; see :class:`IBlobsBackend`."""
        condition, values = _condition(user, query)
        (number,) = self._ask(f"SELECT count(*) FROM {condition}", values)
        return int(number)

    def usage(self) -> dict[str, tuple[int, int]]:
        """Give the number of blobs of each user, and their bytes."""
        with self.reading() as reader:
            rows = reader.execute("SELECT user, count(*), sum(size) FROM blobs GROUP BY user")
            return {user: (number, size) for user, number, size in rows}

    def namespaces(self) -> Places:
        """List the users with their namespaces, of all that is known."""
        with self.reading() as reader:
            rows = reader.execute(
                "SELECT user, namespace FROM blobs UNION SELECT user, namespace FROM tombstones"
            )
            return rows.fetchall()

    def proposal(
        self, user: str, query: ListQuery, after: str, last: str | None
    ) -> tuple[str, Values]:
        """
        Make the statement that gives what is known about some of the ids of a list.

        :param after: the id that comes before them; empty to begin.
        :param last: the last of them; None for all that come.
        :return: the statement and its values, as :class:`checking.Request` has them.
        """
        condition, values = _condition(user, query)
        columns = "id, size, changed, " + ("sidecar" if query.flag else "NULL")
        if query.deleted:
            columns = "id, NULL, changed, NULL"
        # All letters of ids come before that one.
        values += [after, "\x7f" if last is None else last]
        return f"SELECT {columns} FROM {condition} AND id > ? AND id <= ? ORDER BY id", values

    def part_ends(self, user: str, query: ListQuery, most: int) -> Ids:
        """
        Divide the ids of a list, in their order, into parts.

        :param most: how many ids a part has at most.
        :return: the last ids of the parts but the last one.
        """
        condition, values = _condition(user, query)
        statement = f"SELECT id FROM {condition} AND id > ? ORDER BY id LIMIT 2 OFFSET ?"
        ends = [""]
        with self.reading() as reader:
            while True:
                found = reader.execute(statement, [*values, ends[-1], most - 1]).fetchall()
                if len(found) < 2:
                    return ends[1:]
                ends.append(found[0][0])

    def prefixes(self, user: str, namespace: str) -> set[str]:
        """Give the first three letters of the ids in a namespace, or all that a shorter id has."""
        found: set[str] = set()
        with self.reading() as reader:
            for table in ("blobs", "tombstones"):
                # From one to the next: DISTINCT would read every row.
                statement = (
                    f"SELECT substr(id, 1, {PREFIX}) FROM {table}"
                    " WHERE user = ? AND namespace = ? AND id >= ? ORDER BY id LIMIT 1"
                )
                row = reader.execute(statement, (user, namespace, "")).fetchone()
                while row:
                    found.add(row[0])
                    row = reader.execute(statement, (user, namespace, _after(row[0]))).fetchone()
        return found

    def entries(self, user: str, namespace: str, prefix: str) -> dict[str, Entry]:
        """
        Give what is known about some ids in a namespace.

        :param prefix: the first three letters of the ids, or the whole of a shorter id.
        """
        where = "user = ? AND namespace = ? AND id >= ? AND id < ?"
        values = (user, namespace, prefix, _after(prefix))
        with self.reading() as reader:
            blobs = reader.execute(
                f"SELECT id, size, changed, flags, sidecar FROM blobs WHERE {where}", values
            ).fetchall()
            marks = dict(
                reader.execute(f"SELECT id, changed FROM tombstones WHERE {where}", values)
            )
        known = {
            blob_id: Entry(size, changed, flags, marks.pop(blob_id, None), sidecar)
            for blob_id, size, changed, flags, sidecar in blobs
        }
        return known | {it: NOTHING._replace(deleted=at) for it, at in marks.items()}

    def _ask(self, statement: str, values: Iterable[object]) -> tuple[Any, ...]:
        with self.reading() as reader:
            row: tuple[Any, ...] = reader.execute(statement, tuple(values)).fetchone()
            return row

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give a connection that is for this block alone, and only for reading."""
        with self._judged():
            with self._lock:
                self._get_writer()
                reader = self._idle_readers.pop() if self._idle_readers else self._connect()
            try:
                yield reader
            finally:
                with self._lock:
                    if self._writer is None:
                        reader.close()
                    else:
                        self._idle_readers.append(reader)


def _after(prefix: str) -> str:
    """Give what comes after all ids with a prefix of three letters, or after a shorter id."""
    if len(prefix) < PREFIX:
        return prefix + "\0"
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def _condition(user: str, query: ListQuery) -> tuple[str, Values]:
    place: Values = [user, query.namespace]
    if query.deleted:
        never = " AND 0" if query.flag else ""
        return f"tombstones WHERE user = ? AND namespace = ?{never}", place
    if query.flag is None:
        return "blobs WHERE user = ? AND namespace = ?", place
    marked = "blobs WHERE user = ? AND namespace = ? AND flags != 0 AND flags & ?"
    return marked, [*place, _BITS[query.flag]]
