"""
Connections to the catalogue's database, and what its errors mean.

It is encrypted for the tags that its pages have then; see :mod:`blobman.sqlite.connection`. The key
is no secret: what is to be kept from the owner of the disk was sealed by the clients. A file that
has been cut is not noticed so; that is what :func:`check_length` and the digests of rows are for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import apsw

from .... import sqlite
from ....errors import BlobError, StoreError
from ....sqlite import KEY_SIZE, file_uri, transaction
from ..faults import unavailable
from ..interface import DamagedError, UnavailableError
from .schema import UPGRADES, VERSION

PAGE_SIZE = 8192
"""Bytes of a page. Blobs of 10 kB fit it well."""

PERSISTENT_WAL = 4 * 1024 * 1024
"""Bytes that the log keeps when it is emptied, so that little can be written on a full disk."""

_KEY = bytes(KEY_SIZE)

_LOGGED = (
    "journal_mode=WAL",
    "synchronous=FULL",
    f"journal_size_limit={PERSISTENT_WAL}",
    "wal_autocheckpoint=0",
)

_READ = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
_WRITE = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_URI

_KINDS: tuple[tuple[tuple[type[Exception], ...], type[StoreError], str], ...] = (
    ((apsw.CorruptError, apsw.NotADBError), DamagedError, "the catalogue is damaged"),
    ((apsw.FullError,), UnavailableError, "the disk is full"),
    ((apsw.BusyError, apsw.LockedError), UnavailableError, "the catalogue is locked"),
    ((apsw.ReadOnlyError,), UnavailableError, "the catalogue may not be written"),
    ((apsw.IOError,), UnavailableError, "the catalogue can't be read or written"),
    ((apsw.CantOpenError,), UnavailableError, "the catalogue can't be opened"),
    ((apsw.NoMemError, MemoryError), UnavailableError, "there is no memory left"),
)


def as_store_error(error: Exception) -> Exception:
    """Say what an error of SQLite or of the system means; others are given back as they are."""
    if isinstance(error, BlobError):
        return error
    if isinstance(error, OSError):
        return unavailable(error)
    for kinds, kind, what in _KINDS:
        if isinstance(error, kinds):
            told = kind(f"{what} ({error})")
            told.__cause__ = error
            return told
    return error


@contextmanager
def store_errors() -> Iterator[None]:
    """
    Raise the errors of SQLite and of the system in the block as ours.

    :raise DamagedError: what is stored does not verify.
    :raise UnavailableError: it can't be read or written now.
    """
    try:
        yield
    except (apsw.Error, OSError, MemoryError) as error:
        raise as_store_error(error) from error


def connect(path: str, cache: int, patience: float = 10.0) -> apsw.Connection:
    """
    Open the database, and make it if it is not there.

    :param path: of the file; empty for one in memory.
    :param cache: bytes of pages that the connection keeps in memory.
    :param patience: the seconds to wait for a lock of another process.
    :raise StoreError: it can't be opened, is none, or needs a newer version of this program.
    """
    settings = (*(_LOGGED if path else ()), f"cache_size={-cache // 1024}")
    return _connect(path or ":memory:", patience=patience, pragmas=settings)


def connect_copy(path: str, is_fixed: bool = False) -> apsw.Connection:
    """
    Open a database that nobody else uses, such as a backup's: it is one file, without a log.

    :param path: of the file, which is there, and may be empty.
    :param is_fixed: nothing is written, not even beside it.
    :raise StoreError: it can't be opened, or is none.
    """
    if is_fixed:
        return _connect(file_uri(path, "immutable=1"), flags=_READ)
    return _connect(path, flags=_WRITE, pragmas=("journal_mode=DELETE",))


def connect_damaged(path: str) -> apsw.Connection:
    """
    Open a database that may have been cut, so that what is left of it can be read.

    :raise StoreError: it can't be opened.
    """
    return _connect(path, flags=_WRITE, pragmas=("writable_schema=ON",))


def _connect(target: str, **options: Any) -> apsw.Connection:
    key = None if target == ":memory:" else _KEY
    with store_errors():
        return sqlite.connect(target, key, page_size=PAGE_SIZE, **options)


Adopt = Callable[[apsw.Connection], object]
"""Fills a catalogue that has just been made. If it raises, there is none, as before."""


def check_version(connection: apsw.Connection) -> int:
    """
    Tell of which version the tables are; 0 if there are none.

    :raise StoreError: they are of a later one.
    """
    version = connection.pragma("user_version")
    assert isinstance(version, int)
    if version > VERSION:
        raise StoreError("the catalogue was written by a later version of this program")
    return version


def upgrade(connection: apsw.Connection, adopt: Adopt | None = None) -> None:
    """
    Bring the tables to the present version.

    :param adopt: called, in the same transaction, if there were no tables.
    :raise StoreError: they are of a later one.
    """
    version = check_version(connection)
    if version == VERSION:
        return
    with transaction(connection):
        for statements in UPGRADES[version:]:
            for statement in statements:
                connection.execute(statement)
        if version == 0 and adopt is not None:
            adopt(connection)
        connection.pragma("user_version", VERSION)


def check_length(connection: apsw.Connection, path: str) -> None:
    """
    Move what is in the log to the file, and see whether the file has all its pages.

    If that can't be moved now, because the disk is full, nothing is seen.

    :raise DamagedError: it has not, or it ends within a page.
    """
    try:
        ((busy, _, _),) = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    except (apsw.FullError, apsw.IOError, apsw.ReadOnlyError):
        return
    pages, size = connection.pragma("page_count"), os.path.getsize(path)
    assert isinstance(pages, int)
    if not busy and (size % PAGE_SIZE or size < pages * PAGE_SIZE):
        raise DamagedError(f"the catalogue has been cut: {size} bytes instead of {pages} pages")
