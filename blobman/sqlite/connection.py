"""
Connections to a database with AEGIS-256, of SQLite3 Multiple Ciphers.

SQLite itself notices damage only where it breaks the structure of a page. Here every page carries
an authentication tag: one that is not as it was written can't be read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import apsw

from ..errors import StoreError

KEY_SIZE = 32
"""The bytes of a raw AEGIS-256 key."""

CREATE = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_URI

_CIPHER = {"cipher": "aegis", "algorithm": "aegis-256"}


def connect(
    target: str,
    raw_key: bytes | None,
    *,
    flags: int = CREATE,
    patience: float = 0.0,
    page_size: int = 1 << 14,
    pragmas: Sequence[str] = (),
) -> apsw.Connection:
    """
    Open a database. Closing it leaves its log as it is.

    :param target: a path, a ``file:`` URI, or ``:memory:``.
    :param raw_key: :data:`KEY_SIZE` bytes; None for one that is not encrypted. Whether it is the
        right one shows when something is read.
    :param patience: how many seconds to wait for a lock that somebody else holds.
    :param page_size: the bytes of a page, if it is new.
    :param pragmas: more settings, as in ``cache_size=-1024``.
    :raise StoreError: this SQLite can't encrypt.
    :raise apsw.Error: the database can't be opened.
    """
    if not getattr(apsw, "mc_version", None):
        raise StoreError(
            "this apsw can't encrypt, nor tell damaged pages; blobs would be stored in the clear: "
            "remove the package apsw and reinstall apsw-sqlite3mc"
        )
    connection = apsw.Connection(_name(target), flags=flags)
    try:
        connection.set_busy_timeout(int(patience * 1000))
        # The log is judged before anything is moved out of it.
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        if raw_key is not None:
            _set_cipher(connection, raw_key)
        for setting in (f"page_size={page_size}", "temp_store=MEMORY", *pragmas):
            pragma(connection, setting)
    except BaseException:
        connection.close()
        raise
    return connection


def _name(target: str) -> str:
    return target if target == ":memory:" or target.startswith("file:") else file_uri(target)


def _set_cipher(connection: apsw.Connection, raw_key: bytes) -> None:
    for name, value in _CIPHER.items():
        pragma(connection, f"{name}='{value}'")
        if pragma(connection, name) != value:
            raise StoreError(f"this SQLite does not offer {value}")
    if pragma(connection, f"key='raw:{raw_key.hex()}'") != "ok":
        raise StoreError("this SQLite does not take a raw key")


def file_uri(path: str | Path, setting: str = "") -> str:
    """
    Name a file for SQLite in ASCII: its name need not be UTF-8.

    :param setting: as in ``immutable=1``.
    """
    uri = f"file://{quote(os.fsencode(os.path.abspath(path)))}"
    return f"{uri}?{setting}" if setting else uri


def pragma(connection: apsw.Connection, setting: str) -> apsw.SQLiteValue:
    """Run one PRAGMA to its end and give the first value that it answers, if any."""
    rows = ask(connection, f"PRAGMA {setting}")
    return rows[0][0] if rows else None


def ask(
    connection: apsw.Connection, statement: str, values: Sequence[Any] = ()
) -> list[tuple[Any, ...]]:
    """Run a statement, and give all its rows."""
    return connection.execute(statement, values).fetchall()


@contextmanager
def transaction(connection: apsw.Connection) -> Iterator[None]:
    """
    Write in the block, all of it or nothing.

    :raise apsw.Error: it could not begin or not be committed; then nothing is written.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
