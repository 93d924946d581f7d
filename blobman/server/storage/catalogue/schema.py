"""
The tables, as numbered upgrades: number *n* makes version *n* out of version *n* - 1.

Rows of blobs are keyed by the number of the change that put them, so that they and their content
are appended. What is asked for in long lists is in indexes that hold all that is asked for.
"""

from __future__ import annotations

UPGRADES: tuple[tuple[str, ...], ...] = (
    # 1: the tables as they were first made
    (
        # A namespace of a user. The sums are of its blobs; `deleted` counts the tombstones, and
        # the blobs whose id had been deleted before; `number` is the last one given here.
        """
        CREATE TABLE places (
            place INTEGER PRIMARY KEY, user TEXT NOT NULL, namespace TEXT NOT NULL,
            blobs INTEGER NOT NULL, deleted INTEGER NOT NULL, size INTEGER NOT NULL,
            number INTEGER NOT NULL, UNIQUE (user, namespace)
        )
        """,
        # `blob` is the number of the change that put it, `number` that of its latest change.
        # Dates are nanoseconds since the epoch, flags are digits in the order in which they were
        # set. `key` is that of the payload; without one, the content is in `contents`. `digest` is
        # of all that never changes, with the content or the digests of the payload's chunks.
        """
        CREATE TABLE blobs (
            blob INTEGER PRIMARY KEY, place INTEGER NOT NULL, id TEXT NOT NULL,
            number INTEGER NOT NULL, date INTEGER NOT NULL, size INTEGER NOT NULL,
            tag BLOB NOT NULL, key TEXT, digest BLOB NOT NULL, flags TEXT NOT NULL,
            reused INTEGER NOT NULL
        )
        """,
        "CREATE UNIQUE INDEX blobs_by_id ON blobs (place, id)",
        "CREATE INDEX blobs_by_number ON blobs (place, number)",
        "CREATE INDEX blobs_by_date ON blobs (place, date, id)",
        "CREATE INDEX blobs_with_flags ON blobs (place, id, date, flags) WHERE flags <> ''",
        "CREATE INDEX blobs_reused ON blobs (place, id, date) WHERE reused",
        "CREATE TABLE contents (blob INTEGER PRIMARY KEY, content BLOB NOT NULL)",
        # Of a payload's chunks, one after another.
        "CREATE TABLE digests (blob INTEGER PRIMARY KEY, digests BLOB NOT NULL)",
        # A tombstone goes when its id is used again; the blob is then marked as `reused`.
        """
        CREATE TABLE tombstones (
            place INTEGER NOT NULL, id TEXT NOT NULL, number INTEGER NOT NULL,
            date INTEGER NOT NULL, tag BLOB NOT NULL, PRIMARY KEY (place, id)
        ) WITHOUT ROWID
        """,
        "CREATE INDEX tombstones_by_number ON tombstones (place, number)",
        "CREATE INDEX tombstones_by_date ON tombstones (place, date, id)",
        # Payloads that are being written, with the space that is reserved for them, and when
        # nobody writes them any more (seconds since the epoch).
        """
        CREATE TABLE uploads (
            key TEXT PRIMARY KEY, user TEXT NOT NULL, size INTEGER NOT NULL, lease INTEGER NOT NULL
        ) WITHOUT ROWID
        """,
        "CREATE INDEX uploads_by_user ON uploads (user, size)",
        "CREATE INDEX uploads_by_lease ON uploads (lease)",
        # Payloads that are to be removed, and when nobody reads them any more.
        "CREATE TABLE garbage (key TEXT PRIMARY KEY, due INTEGER NOT NULL) WITHOUT ROWID",
        "CREATE INDEX garbage_by_due ON garbage (due)",
        # Bytes, NULL for no limit. The user '' is everybody who is not named.
        "CREATE TABLE quotas (user TEXT PRIMARY KEY, size INTEGER) WITHOUT ROWID",
        # Each began with the start of a server, or when one was drawn by hand.
        "CREATE TABLE generations (first INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
        # Is written to see whether it can be.
        "CREATE TABLE checks (only_one INTEGER PRIMARY KEY, times INTEGER NOT NULL)",
    ),
    # 2: tokens
    (
        # When it was made is in seconds since the epoch; a digest is a token's SHA-256, in hex.
        """
        CREATE TABLE tokens (
            token INTEGER PRIMARY KEY, user TEXT NOT NULL, id TEXT NOT NULL,
            created INTEGER NOT NULL, digest TEXT NOT NULL, label TEXT NOT NULL
        )
        """,
        "CREATE INDEX tokens_by_user ON tokens (user)",
    ),
    # 3: what tells whether the log beside the database is its own; see pairing.py
    (
        """
        CREATE TABLE pairing (
            only_one INTEGER PRIMARY KEY, number INTEGER NOT NULL, base INTEGER NOT NULL
        )
        """,
        "INSERT INTO pairing VALUES (1, 1, 0)",
    ),
    # 4: the store of payloads, if it is apart
    (
        """
        CREATE TABLE store (
            only_one INTEGER PRIMARY KEY, mark TEXT NOT NULL, is_confirmed INTEGER NOT NULL
        )
        """,
    ),
)
"""The statements of each upgrade."""

VERSION = len(UPGRADES)
"""The version that this program reads and writes."""
