"""Databases as Soledad leaves them, made anew: real ones, with its cipher and its tables."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import apsw

from .contract import MIB

TABLES = """
    CREATE TABLE blobs (blob_id PRIMARY KEY, payload BLOB, namespace TEXT,
        sync_status INT default 2, retries INT default 0);
    CREATE TABLE sync_state (blob_id PRIMARY KEY, namespace TEXT, sync_status INT default 2,
        priority INT default 2, retries INT default 0)
"""


def connect_old(path: Path, key: bytes) -> apsw.Connection:
    """Open a database with Soledad's cipher and settings."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = apsw.Connection(str(path))
    for setting in ("cipher='sqlcipher'", "legacy=3", "kdf_iter=4000", "legacy_page_size=1024"):
        connection.execute(f"PRAGMA {setting}").fetchall()
    connection.execute(f"PRAGMA key='x''{key.hex()}'").fetchall()
    return connection


def make_old(
    path: Path,
    key: bytes,
    blobs: Iterable[tuple[Any, ...]] = (),
    states: Iterable[tuple[Any, ...]] = (),
) -> None:
    """
    Make a database.

    :param blobs: id, payload, namespace, and perhaps a status.
    :param states: id, namespace, status, priority, retries.
    """
    connection = connect_old(path, key)
    connection.execute(TABLES)
    with connection:
        for blob_id, payload, namespace, *status in blobs:
            connection.execute(
                "INSERT INTO blobs (blob_id, payload, namespace, sync_status) VALUES (?, ?, ?, ?)",
                (blob_id, payload, namespace, *(status or [2])),
            )
        connection.executemany("INSERT INTO sync_state VALUES (?, ?, ?, ?, ?)", states)
    connection.close()


def make_large(path: Path, key: bytes, count: int, size: int) -> None:
    """Make a database of some blobs that wait for their upload, each of its number's bytes."""
    connection = connect_old(path, key)
    connection.execute(TABLES)
    with connection:
        for number in range(count):
            add_large(connection, number, size)
    connection.close()


def add_large(connection: apsw.Connection, number: int, size: int) -> None:
    blob_id = f"b{number}"
    connection.execute(
        "INSERT INTO blobs (blob_id, payload, namespace) VALUES (?, zeroblob(?), '')",
        (blob_id, size),
    )
    row = connection.last_insert_rowid()
    with connection.blob_open("main", "blobs", "payload", row, True) as blob:
        for start in range(0, size, MIB):
            blob.write(bytes([number % 256]) * min(MIB, size - start))
    connection.execute("INSERT INTO sync_state VALUES (?, '', 2, 2, NULL)", (blob_id,))
