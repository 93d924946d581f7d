"""
A server that lies: its blobs changed, or taken away, under its hands.

It works on the catalogue of a server, which may be running, and leaves no trace there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import apsw

from blobman.protocol import TAG_SIZE
from blobman.server.storage.catalogue.connection import connect
from blobman.server.storage.catalogue.rows import row_digest
from blobman.server.storage.interface import BlobName
from blobman.sqlite import transaction

_WHERE = "place = (SELECT place FROM places WHERE user = ? AND namespace = ?) AND id = ?"


@contextmanager
def _changing(data: str) -> Iterator[apsw.Connection]:
    connection = connect(os.path.join(data, ".blobman", "catalogue.sqlite"), 100_000)
    try:
        with transaction(connection):
            yield connection
    finally:
        connection.close()


def payload_path(data: str, key: str) -> str:
    """Say where a payload is."""
    return os.path.join(data, ".blobman", "payloads", key[:2], key)


def key_of(data: str, name: BlobName) -> str | None:
    """Give the key of a blob's payload; None if it has none."""
    with _changing(data) as connection:
        for (key,) in connection.execute(f"SELECT key FROM blobs WHERE {_WHERE}", name):
            assert key is None or isinstance(key, str)
            return key
    raise LookupError(name)


def read(data: str, name: BlobName) -> bytes | None:
    """Read what the server has; None if it has nothing."""
    with _changing(data) as connection:
        rows = connection.execute(
            f"SELECT key, content FROM blobs LEFT JOIN contents USING (blob) WHERE {_WHERE}", name
        ).fetchall()
    if not rows:
        return None
    key, content = rows[0]
    if key is None:
        assert isinstance(content, bytes)
        return content
    with open(payload_path(data, str(key)), "rb") as file:
        return file.read()


def replace(data: str, name: BlobName, content: bytes) -> None:
    """Have the server hold something else under a name that it has."""
    with _changing(data) as connection:
        ((blob, size),) = connection.execute(
            f"SELECT blob, size FROM blobs WHERE {_WHERE}", name
        ).fetchall()
        tag = content[-TAG_SIZE:]
        digest = row_digest(name, len(content), tag, None, content)
        connection.execute(
            "UPDATE blobs SET key = NULL, size = ?, tag = ?, digest = ? WHERE blob = ?",
            (len(content), tag, digest, blob),
        )
        connection.execute("DELETE FROM digests WHERE blob = ?", (blob,))
        connection.execute("INSERT OR REPLACE INTO contents VALUES (?, ?)", (blob, content))
        assert isinstance(size, int)
        _add(connection, name, 0, len(content) - size)


def remove(data: str, name: BlobName) -> None:
    """Have the server lose a blob."""
    with _changing(data) as connection:
        ((blob, size),) = connection.execute(
            f"SELECT blob, size FROM blobs WHERE {_WHERE}", name
        ).fetchall()
        for table in ("blobs", "contents", "digests"):
            connection.execute(f"DELETE FROM {table} WHERE blob = ?", (blob,))
        assert isinstance(size, int)
        _add(connection, name, -1, -size)


def _add(connection: apsw.Connection, name: BlobName, blobs: int, size: int) -> None:
    connection.execute(
        "UPDATE places SET blobs = blobs + ?, size = size + ? WHERE user = ? AND namespace = ?",
        (blobs, size, *name[:2]),
    )


def leftovers(data: str) -> list[str]:
    """List what uploads have left, or are working on: keys that are reserved, and payloads."""
    folder = os.path.join(data, ".blobman", "payloads")
    with _changing(data) as connection:
        reserved = [str(key) for (key,) in connection.execute("SELECT key FROM uploads")]
        used = {key for (key,) in connection.execute("SELECT key FROM blobs")}
    files = [file for _, _, them in os.walk(folder) for file in them]
    return reserved + [file for file in files if file not in used]
