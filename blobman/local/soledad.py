"""
The database that Soledad kept on this machine: how to open it, and what is in it.

It is a SQLCipher 3 database with one row for each payload and one for each status. Either can
be missing, and everything in them can be NULL: what becomes of them is for :mod:`.mapping`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from ..errors import StoreError
from ..model import DEFAULT_NAMESPACE
from ..sqlite import file_uri, pragma
from .faults import store_errors
from .journal import roll_back
from .schema import CHUNK_SIZE

__all__ = ["OldBlob", "OldDatabase", "is_soledads", "own_name"]

_CIPHER = ("cipher='sqlcipher'", "legacy=3", "kdf_iter=4000", "legacy_page_size=1024")
_LOOK = "SELECT count(*) FROM sqlite_schema"
_READ = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
_WRITE = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_URI

_BLOBS = ("blob_id", "payload", "namespace", "sync_status")
_STATES = ("blob_id", "namespace", "sync_status", "priority", "retries")


class OldBlob(NamedTuple):
    """
    What Soledad recorded about a blob, as it is: any value may be None, or of any type.

    :ivar size: the bytes of the payload; None if there is none.
    :ivar row: what :meth:`OldDatabase.read` takes; None if there is no payload.
    :ivar status: what is recorded in ``sync_state``; None if nothing is.
    :ivar own_status: what is recorded beside the payload.
    """

    blob_id: object
    namespace: object
    size: int | None = None
    row: int | None = None
    status: object = None
    own_status: object = None
    priority: object = None
    retries: object = None


def own_name(namespace: object) -> object:
    """Give the name that a namespace of Soledad's has here: its default one has three."""
    return "" if namespace in (None, DEFAULT_NAMESPACE) else namespace


def is_soledads(path: Path, key: bytes) -> bool:
    """
    Whether a file is a database of Soledad that this key opens. It is left alone.

    :param key: the application's key.
    :raise StoreError: it can't be read.
    """
    with store_errors(str(path)):
        # SQLite would open an empty one with any key.
        if not path.exists() or not path.stat().st_size:
            return False
        try:
            # What is beside it, a journal or a log, is not looked at, and no lock is taken.
            _connect(file_uri(path, "immutable=1"), key, _READ).close()
        except apsw.NotADBError:
            return False
        return True


def _connect(uri: str, key: bytes, flags: int) -> apsw.Connection:
    connection = apsw.Connection(uri, flags=flags)
    try:
        # A passphrase that looks like a raw key whose closing quote was forgotten.
        passphrase = f"key='x''{key.hex()}'"
        for setting in (*_CIPHER, passphrase, "temp_store=MEMORY", "cache_size=-4096"):
            pragma(connection, setting)
        connection.execute(_LOOK).fetchall()
    except BaseException:
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.close()
        raise
    return connection


class OldDatabase:
    """
    A database of Soledad, open for reading. What a crash left half done is taken back first.

    :param path: its file, which :func:`is_soledads`.
    :param key: the application's key.
    :param patience: how many seconds to wait for a program that is writing to it.
    :raise StoreError: it can't be opened.
    """

    def __init__(self, path: Path, key: bytes, patience: float) -> None:
        self._path = path
        with store_errors(str(path)):
            roll_back(path)
            log = path.with_name(path.name + "-wal")
            has_log = log.exists() and log.stat().st_size > 0
            self._connection = _connect(file_uri(path, "mode=rw"), key, _WRITE)
            self._connection.set_busy_timeout(int(patience * 1000))
            # Whoever only looks leaves a log as it is.
            self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, has_log)

    def seize(self) -> None:
        """
        Bring what is in its log into the file, and keep others from writing until the end.

        :raise StoreError: another program has it open.
        """
        with store_errors(str(self._path)):
            # Only who is alone can end the use of a log.
            if pragma(self._connection, "journal_mode=DELETE") != "delete":
                raise StoreError(f"{self._path} is in use by another program")
            self._connection.execute("BEGIN IMMEDIATE")

    def blobs(self) -> Iterator[OldBlob]:
        """
        List what is recorded: the payloads, oldest first, then the statuses that have none.

        A status of another namespace than the payload's is not about that payload.

        :raise StoreError: it can't be read.
        """
        with store_errors(str(self._path)):
            for blob_id, space, kind, size, row, own, stated, *state in self._select_payloads():
                state_space, status, priority, retries = state
                about = stated and own_name(state_space) == own_name(space)
                here = kind in ("blob", "text")
                if here:
                    found = OldBlob(blob_id, space, size, row, own_status=own)
                    yield (
                        found._replace(status=status, priority=priority, retries=retries)
                        if about
                        else found
                    )
                if stated and not (here and about):
                    yield OldBlob(blob_id, state_space, None, None, status, None, priority, retries)
            for blob_id, space, status, priority, retries in self._select_states():
                yield OldBlob(blob_id, space, None, None, status, None, priority, retries)

    def _select_payloads(self) -> Iterator[tuple[Any, ...]]:
        blob_id, payload, namespace, own = self._columns("blobs", _BLOBS)
        state_id, *state = self._columns("sync_state", _STATES)
        if blob_id == "NULL":
            return iter(())
        others = "LEFT JOIN sync_state ON sync_state.blob_id = blobs.blob_id"
        return self._connection.execute(
            f"SELECT {blob_id}, {namespace}, typeof({payload}), octet_length({payload}),"
            f" blobs.rowid, {own}, {state_id} IS NOT NULL, {', '.join(state)}"
            f" FROM blobs {'' if state_id == 'NULL' else others} ORDER BY blobs.rowid"
        )

    def _select_states(self) -> Iterator[tuple[Any, ...]]:
        columns = self._columns("sync_state", _STATES)
        if columns[0] == "NULL":
            return iter(())
        has_blobs = self._columns("blobs", _BLOBS)[0] != "NULL"
        condition = "WHERE blob_id IS NULL OR blob_id NOT IN (SELECT blob_id FROM blobs"
        return self._connection.execute(
            f"SELECT {', '.join(columns)} FROM sync_state"
            f" {condition + ' WHERE blob_id IS NOT NULL)' if has_blobs else ''} ORDER BY rowid"
        )

    def _columns(self, table: str, names: tuple[str, ...]) -> list[str]:
        """Give expressions for columns; older versions of Soledad did not have all of them."""
        rows = self._connection.execute(f"PRAGMA table_info({table})").fetchall()
        there = {row[1] for row in rows}
        return [f"{table}.{name}" if name in there else "NULL" for name in names]

    def read(self, blob: OldBlob) -> Iterator[bytes]:
        """
        Read a payload, chunk by chunk; none for an empty one.

        :raise StoreError: it can't be read.
        """
        assert blob.row is not None and blob.size is not None
        with store_errors(str(self._path)):
            if not blob.size:
                return
            payload = self._connection.blob_open("main", "blobs", "payload", blob.row, False)
            try:
                for _ in range(0, blob.size, CHUNK_SIZE):
                    yield payload.read(CHUNK_SIZE)
            finally:
                payload.close(True)

    def close(self) -> None:
        """Let go of it."""
        self._connection.close()
