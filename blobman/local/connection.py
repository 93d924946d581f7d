"""Connections to an encrypted database: the cipher, the key, and nothing in the clear."""

from __future__ import annotations

from contextlib import closing

import apsw
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .. import sqlite
from ..errors import StoreError, WrongKeyError
from ..sqlite import CREATE, KEY_SIZE, ask, pragma
from .faults import store_errors

__all__ = ["as_bytes", "connect", "derive_key"]

_INFO = b"blobman local store, database key, version 1"

_LOOK = "SELECT count(*) FROM sqlite_schema"


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
    flags: int = CREATE,
    patience: float = 0.0,
    page_size: int = 1 << 14,
    pragmas: tuple[str, ...] = (),
) -> apsw.Connection:
    """
    Open a database that is encrypted; see :func:`blobman.sqlite.connect`.

    :param page_size: the bytes of a page, if it is new.
    :param pragmas: more settings, as in ``cache_size=-1024``.
    :raise WrongKeyError: the key does not open it; it is left as it was.
    :raise StoreError: it can't be opened, is not encrypted, or this SQLite can't encrypt.
    """
    with store_errors(target):
        connection = sqlite.connect(
            target, raw_key, flags=flags, patience=patience, page_size=page_size
        )
        try:
            _verify(connection, target)
            for setting in pragmas:
                pragma(connection, setting)
        except BaseException:
            connection.close()
            raise
    return connection


def _verify(connection: apsw.Connection, path: str) -> None:
    try:
        ask(connection, _LOOK)
    except apsw.NotADBError as error:
        if _is_plain(path):
            raise StoreError(f"{path} is not encrypted, so it is not a store") from error
        raise WrongKeyError(f"the key does not open {path}") from error


def _is_plain(path: str) -> bool:
    # Not by reading the file: closing it would drop the locks that SQLite has on it.
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    with closing(sqlite.connect(path, None, flags=flags)) as plain:
        try:
            ask(plain, _LOOK)
        except apsw.Error:
            return False
        return True
