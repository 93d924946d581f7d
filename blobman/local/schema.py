"""
The tables, as numbered upgrades.

The number of upgrades that a database has seen is its ``user_version``. An upgrade that
was released never changes; what is to be different goes into a new one, at the end.
"""

from __future__ import annotations

from typing import NamedTuple

import apsw

from ..errors import StoreError
from .connection import pragma, transaction

__all__ = ["CHUNK_SIZE", "UPGRADES", "VERSION", "Upgrade", "upgrade"]

CHUNK_SIZE = 1 << 20
"""
The bytes of a chunk: every one of a payload but the last, which has 1 to as many.

A payload of at most one chunk lies in the database, a larger one in a file of its own.
"""


class Upgrade(NamedTuple):
    """
    One step.

    :ivar number: the version that it leads to.
    :ivar purpose: what it is for.
    :ivar statements: what it does, in one transaction.
    """

    number: int
    purpose: str
    statements: tuple[str, ...]


UPGRADES = (
    Upgrade(
        1,
        "blobs with their statuses, and their payloads beside them",
        (
            # A payload lies in ``content`` or, with a key of its own, in the file ``file``.
            # An id is never used again, so that who reads one can't get another's bytes.
            """
            CREATE TABLE payloads (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                size INTEGER NOT NULL CHECK (size >= 0),
                preamble BLOB NOT NULL,
                external INTEGER NOT NULL CHECK (external IN (0, 1)),
                file TEXT UNIQUE,
                file_key BLOB,
                content BLOB,
                CHECK ((file IS NULL) = (content IS NOT NULL)),
                CHECK ((file IS NULL) = (file_key IS NULL))
            )
            """,
            # The order of the ids is the age. A blob that waits for a download (3) or failed
            # to come (5) has no payload; one that waits for its deletion (6) may have one.
            """
            CREATE TABLE blobs (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                namespace TEXT NOT NULL,
                blob_id TEXT NOT NULL,
                status INTEGER NOT NULL CHECK (status BETWEEN 1 AND 7),
                priority INTEGER NOT NULL CHECK (priority BETWEEN 1 AND 4),
                retries INTEGER NOT NULL DEFAULT 0 CHECK (retries >= 0),
                payload INTEGER UNIQUE REFERENCES payloads (id),
                UNIQUE (namespace, blob_id),
                CHECK (status = 6 OR (status IN (3, 5)) = (payload IS NULL))
            )
            """,
            # What waits, in the order in which it is to go.
            """
            CREATE INDEX blobs_waiting ON blobs (namespace, status, priority DESC, id)
            """,
        ),
    ),
    Upgrade(
        2,
        "payloads are compared with what went in, and their files go only when that is recorded",
        (
            # A key, and a tag for each chunk. NULL if an earlier version stored it: a tag that
            # is made later vouches for nothing.
            """
            ALTER TABLE payloads ADD COLUMN digests BLOB
            """,
            # Files whose payloads have been removed, and that may still be there.
            """
            CREATE TABLE going (file TEXT PRIMARY KEY) WITHOUT ROWID
            """,
        ),
    ),
)
"""All upgrades, oldest first."""

VERSION = UPGRADES[-1].number
"""The version that this program reads and writes."""


def upgrade(connection: apsw.Connection, path: str) -> None:
    """
    Bring a database to the present version. Two processes may do it at once.

    :param path: its file, for the message.
    :raise StoreError: a newer program made it.
    """
    if _version(connection, path) == VERSION:
        return
    with transaction(connection):
        present = _version(connection, path)
        for step in UPGRADES[present:]:
            for statement in step.statements:
                connection.execute(statement)
        pragma(connection, f"user_version={VERSION}")


def _version(connection: apsw.Connection, path: str) -> int:
    present = pragma(connection, "user_version")
    assert isinstance(present, int)
    if present > VERSION:
        raise StoreError(
            f"{path} was made by a newer version of blobman (schema {present}; "
            f"this one knows {VERSION}): upgrade blobman to open it"
        )
    return present
