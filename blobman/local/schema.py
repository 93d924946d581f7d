"""
The tables, as numbered upgrades.

The number of upgrades that a database has seen is its ``user_version``. An upgrade that
was released never changes; what is to be different goes into a new one, at the end.
"""

from __future__ import annotations

from typing import NamedTuple

import apsw

from ..errors import StoreError
from ..sqlite import pragma, transaction

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
    Upgrade(
        3,
        "blobs of 'default', which is what the server calls '', are in ''",
        (
            # Ids that are in both: which row goes, and whether it is kept elsewhere. A copy goes
            # before what is only noted, and a deletion before a download; else that of
            # 'default'. One preamble means one blob, unless there is none.
            """
            CREATE TABLE twice AS
            SELECT
                iif(there_rank > here_rank, here, there) AS blob,
                iif(there_rank > here_rank, here_payload, there_payload) AS payload,
                here_rank = 2 AND there_rank = 2 AND NOT same AS kept
            FROM (
                SELECT
                    here.id AS here, here.payload AS here_payload,
                    there.id AS there, there.payload AS there_payload,
                    iif(here.status IN (3, 5), 0, iif(here.status = 6, 1, 2)) AS here_rank,
                    iif(there.status IN (3, 5), 0, iif(there.status = 6, 1, 2)) AS there_rank,
                    ifnull(mine.preamble = other.preamble AND mine.preamble != x'', 0) AS same
                FROM blobs AS there
                JOIN blobs AS here ON here.namespace = '' AND here.blob_id = there.blob_id
                LEFT JOIN payloads AS mine ON mine.id = here.payload
                LEFT JOIN payloads AS other ON other.id = there.payload
                WHERE there.namespace = 'default'
            )
            """,
            # Two blobs of one id can't both be the server's: one becomes LOCAL_ONLY (7), in a
            # namespace that has not been in use.
            """
            UPDATE blobs SET status = 7, retries = 0, namespace = (
                SELECT 'from-default' || iif(
                    EXISTS (SELECT 1 FROM blobs WHERE namespace = 'from-default'),
                    '-' || lower(hex(randomblob(8))),
                    ''
                )
            )
            WHERE id IN (SELECT blob FROM twice WHERE kept)
            """,
            """
            DELETE FROM blobs WHERE id IN (SELECT blob FROM twice WHERE NOT kept)
            """,
            """
            INSERT INTO going SELECT file FROM payloads
            WHERE file IS NOT NULL AND id IN (SELECT payload FROM twice WHERE NOT kept)
            """,
            """
            DELETE FROM payloads WHERE id IN (SELECT payload FROM twice WHERE NOT kept)
            """,
            """
            DROP TABLE twice
            """,
            """
            UPDATE blobs SET namespace = '' WHERE namespace = 'default'
            """,
        ),
    ),
    Upgrade(
        4,
        "a tombstone that is known says nothing about a blob that came later under its id",
        (
            # Ids that were deleted from here, or of which the server had a tombstone.
            """
            CREATE TABLE tombstones (
                namespace TEXT NOT NULL,
                blob_id TEXT NOT NULL,
                PRIMARY KEY (namespace, blob_id)
            ) WITHOUT ROWID
            """,
        ),
    ),
    Upgrade(
        5,
        "the server's changes are followed, and blobs are known by their tags",
        (
            # Where each namespace has come to, and where it goes on after reading everything from
            # the start. A comparison has a number: what was seen since it began has it, too.
            """
            CREATE TABLE feeds (
                namespace TEXT PRIMARY KEY,
                cursor TEXT NOT NULL,
                comparison INTEGER NOT NULL,
                is_comparing INTEGER NOT NULL CHECK (is_comparing IN (0, 1)),
                compared REAL,
                resume TEXT
            ) WITHOUT ROWID
            """,
            # Of the copy here, sealed; NULL if it is not known, or there is no copy.
            """
            ALTER TABLE blobs ADD COLUMN tag BLOB
            """,
            # What the server told of its blob: NULL if nothing. The former tag is what it told of
            # the blob that was there before.
            """
            ALTER TABLE blobs ADD COLUMN told_tag BLOB
            """,
            """
            ALTER TABLE blobs ADD COLUMN told_size INTEGER
            """,
            """
            ALTER TABLE blobs ADD COLUMN former_tag BLOB
            """,
            # Names, with commas between them.
            """
            ALTER TABLE blobs ADD COLUMN flags TEXT NOT NULL DEFAULT ''
            """,
            """
            ALTER TABLE blobs ADD COLUMN seen INTEGER NOT NULL DEFAULT 0
            """,
            # What is SYNCED (1), and another blob on the server, or perhaps another.
            """
            CREATE INDEX blobs_outdated ON blobs (namespace, priority DESC, id)
            WHERE status = 1 AND told_tag IS NOT NULL AND tag IS NOT told_tag
            """,
        ),
    ),
    Upgrade(
        6,
        "what Soledad's server delivered is not the user's own, if it was taken over from Soledad",
        (
            # Of what is SYNCED (1), only what was taken over has no preamble.
            """
            UPDATE payloads SET external = 1
            WHERE preamble = x'' AND id IN (
                SELECT payload FROM blobs WHERE namespace = 'MX' AND status = 1
            )
            """,
        ),
    ),
    Upgrade(
        7,
        "what was uploaded is missed if the server's changes do not tell of it",
        (
            # 1 if it was uploaded, and no change has told of it since. If it is PENDING_UPLOAD, it
            # is sent once more for that reason, or a deletion was told meanwhile: then it is not
            # missed again.
            """
            ALTER TABLE blobs ADD COLUMN untold INTEGER NOT NULL DEFAULT 0
            """,
            """
            CREATE INDEX blobs_untold ON blobs (namespace, blob_id) WHERE untold AND status = 1
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
