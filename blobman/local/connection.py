"""Connections to an encrypted database: the cipher, the key, and nothing in the clear."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import apsw
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ..errors import StoreError, WrongKeyError
from .faults import store_errors

__all__ = ["KEY_SIZE", "as_bytes", "connect", "derive_key", "file_uri", "pragma", "transaction"]

KEY_SIZE = 32
"""The bytes of a raw AEGIS-256 key."""

_INFO = b"blobman local store, database key, version 1"

_LOOK = "SELECT count(*) FROM sqlite_schema"

_CREATE = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_URI


def as_bytes(key: object) -> bytes:
    """
    Take an application's key; a ``str`` stands for its Latin-1 bytes.

    :raise ValueError: it is not Latin-1.
    :raise TypeError: it is of another type.
    """
    if isinstance(key, str):
        try:
            return key.encode("latin-1")
        except UnicodeEncodeError:
            # Without the cause, which would show the key.
            raise ValueError("key must be bytes, or a str of Latin-1 characters") from None
    if not isinstance(key, (bytes, bytearray, memoryview)):
        raise TypeError(f"key must be bytes or a str, not {type(key).__name__}")
    return bytes(key)


def derive_key(key: bytes) -> bytes:
    """
    Make the raw key of the database: HKDF-SHA256 without salt.

    :param key: the application's key, of any length but 0.
    :raise ValueError: it is empty.
    """
    if not key:
        raise ValueError("key must not be empty")
    return HKDF(SHA256(), KEY_SIZE, salt=None, info=_INFO).derive(key)


def connect(
    target: str,
    raw_key: bytes,
    *,
    flags: int = _CREATE,
    patience: float = 0.0,
    page_size: int = 1 << 14,
    pragmas: tuple[str, ...] = (),
) -> apsw.Connection:
    """
    Open a database with AEGIS-256. Closing it leaves its log as it is.

    :param target: a path, or a ``file:`` URI.
    :param patience: how many seconds to wait for a lock that somebody else holds.
    :param page_size: the bytes of a page, if it is new.
    :param pragmas: more settings, as in ``cache_size=-1024``.
    :raise WrongKeyError: the key does not open it; it is left as it was.
    :raise StoreError: it can't be opened, is not encrypted, or this SQLite can't encrypt.
    """
    if not getattr(apsw, "mc_version", None):
        raise StoreError(
            "this apsw can't encrypt, the blobs would be stored in the clear: "
            "remove the package apsw and reinstall apsw-sqlite3mc"
        )
    with store_errors(target):
        connection = apsw.Connection(_uri(target), flags=flags)
        try:
            connection.set_busy_timeout(int(patience * 1000))
            _set_cipher(connection, raw_key)
            _verify(connection, target, page_size)
            for setting in ("temp_store=MEMORY", *pragmas):
                pragma(connection, setting)
        except BaseException:
            connection.close()
            raise
    return connection


def _set_cipher(connection: apsw.Connection, raw_key: bytes) -> None:
    for name, value in (("cipher", "aegis"), ("algorithm", "aegis-256")):
        pragma(connection, f"{name}='{value}'")
        if pragma(connection, name) != value:
            raise StoreError(f"this SQLite does not offer {value}")
    if pragma(connection, f"key='raw:{raw_key.hex()}'") != "ok":
        raise StoreError("this SQLite does not take a raw key")


def file_uri(path: Path, setting: str) -> str:
    """Name a file for SQLite, with a setting as in ``immutable=1``."""
    return f"{_uri(path)}?{setting}"


def _uri(target: str | Path) -> str:
    """Name a file for SQLite in ASCII: its name need not be UTF-8."""
    if isinstance(target, str) and target.startswith("file:"):
        return target
    return f"file://{quote(os.fsencode(os.path.abspath(target)))}"


def pragma(connection: apsw.Connection, setting: str) -> apsw.SQLiteValue:
    """Run one PRAGMA to its end and give the first value that it answers, if any."""
    rows = connection.execute(f"PRAGMA {setting}").fetchall()
    return rows[0][0] if rows else None


@contextmanager
def transaction(connection: apsw.Connection) -> Iterator[None]:
    """
    Write inside, all of it or nothing.

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


def _verify(connection: apsw.Connection, path: str, page_size: int) -> None:
    # Closing must not touch the log: the key may be wrong, or the log not what it was.
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    pragma(connection, f"page_size={page_size}")
    try:
        connection.execute(_LOOK).fetchall()
    except apsw.NotADBError as error:
        if _is_plain(path):
            raise StoreError(f"{path} is not encrypted, so it is not a store") from error
        raise WrongKeyError(f"the key does not open {path}") from error


def _is_plain(path: str) -> bool:
    # Not by reading the file: closing it would drop the locks that SQLite has on it.
    plain = apsw.Connection(_uri(path), flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    try:
        plain.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        plain.execute(_LOOK).fetchall()
    except apsw.Error:
        return False
    else:
        return True
    finally:
        plain.close()
