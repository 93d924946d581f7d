"""
The tables and functions, as numbered upgrades: number *n* makes version *n* out of version *n* - 1.

They are in a schema of their own. Text is sorted by its bytes, whatever the database's language.
"""

from __future__ import annotations

from .functions import FUNCTIONS

_TABLES = (
    # The sums are of bytes: of blobs, and of uploads that are under way.
    """
    CREATE TABLE accounts (
        account bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        user_name text COLLATE "C" NOT NULL UNIQUE,
        used bigint NOT NULL DEFAULT 0, reserved bigint NOT NULL DEFAULT 0
    ) WITH (fillfactor = 50)
    """,
    # A namespace of a user. `deleted` counts the tombstones, and the blobs whose id had been
    # deleted before; `number` and `latest` are the last number and the last date given here.
    """
    CREATE TABLE places (
        place bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        account bigint NOT NULL REFERENCES accounts, namespace text COLLATE "C" NOT NULL,
        blobs bigint NOT NULL DEFAULT 0, deleted bigint NOT NULL DEFAULT 0,
        number bigint NOT NULL DEFAULT 0, latest bigint NOT NULL DEFAULT 0,
        UNIQUE (account, namespace)
    ) WITH (fillfactor = 50)
    """,
    # Dates are nanoseconds since the epoch, flags are digits in the order in which they were set.
    # `key` is that of the payload, and `body` has the digests of its chunks; without a key, it is
    # the content. `digest` is of all that never changes.
    """
    CREATE TABLE blobs (
        place bigint NOT NULL, id text COLLATE "C" NOT NULL, number bigint NOT NULL,
        date bigint NOT NULL, size bigint NOT NULL, tag bytea NOT NULL, key text COLLATE "C",
        digest bytea NOT NULL, flags text NOT NULL, reused boolean NOT NULL, body bytea NOT NULL,
        PRIMARY KEY (place, id)
    )
    """,
    # What is sealed can't be compressed.
    "ALTER TABLE blobs ALTER body SET STORAGE EXTERNAL",
    "CREATE INDEX blobs_by_number ON blobs (place, number)",
    "CREATE INDEX blobs_by_date ON blobs (place, date, id)",
    "CREATE INDEX blobs_with_flags ON blobs (place, id, date, flags) WHERE flags <> ''",
    "CREATE INDEX blobs_reused ON blobs (place, id, date) WHERE reused",
    # A tombstone goes when its id is used again; the blob is then marked as `reused`.
    """
    CREATE TABLE tombstones (
        place bigint NOT NULL, id text COLLATE "C" NOT NULL, number bigint NOT NULL,
        date bigint NOT NULL, tag bytea NOT NULL, PRIMARY KEY (place, id)
    )
    """,
    "CREATE INDEX tombstones_by_number ON tombstones (place, number)",
    "CREATE INDEX tombstones_by_date ON tombstones (place, date, id)",
    # Payloads that are being written, with the space that is reserved for them, and when nobody
    # writes them any more: seconds since the epoch, by the database's clock.
    """
    CREATE TABLE uploads (
        key text COLLATE "C" PRIMARY KEY, account bigint NOT NULL REFERENCES accounts,
        size bigint NOT NULL, lease bigint NOT NULL
    )
    """,
    "CREATE INDEX uploads_by_lease ON uploads (lease)",
    # Payloads that are to be removed, and when nobody reads them any more. That of an upload that
    # was not published may still turn up. A claimed one is being removed by who was told of it.
    """
    CREATE TABLE garbage (
        key text COLLATE "C" PRIMARY KEY, due bigint NOT NULL,
        unpublished boolean NOT NULL, claimed boolean NOT NULL DEFAULT false
    )
    """,
    "CREATE INDEX garbage_by_due ON garbage (due)",
    # Bytes, NULL for no limit. The user '' is everybody who is not named.
    'CREATE TABLE quotas (user_name text COLLATE "C" PRIMARY KEY, size bigint)',
    # When it was made is in seconds since the epoch; a digest is a token's SHA-256, in hex.
    """
    CREATE TABLE tokens (
        token bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        user_name text COLLATE "C" NOT NULL, id text NOT NULL, created bigint NOT NULL,
        digest text NOT NULL, label text NOT NULL
    )
    """,
    "CREATE INDEX tokens_by_user ON tokens (user_name)",
    "CREATE TABLE generations (only_one boolean PRIMARY KEY CHECK (only_one), name text NOT NULL)",
    "INSERT INTO generations VALUES (true, replace(gen_random_uuid()::text, '-', ''))",
    # The store of payloads.
    """
    CREATE TABLE store (
        only_one boolean PRIMARY KEY CHECK (only_one), mark text NOT NULL,
        is_confirmed boolean NOT NULL
    )
    """,
    # Is written to see whether it can be.
    "CREATE TABLE checks (only_one boolean PRIMARY KEY CHECK (only_one), times bigint NOT NULL)",
    "INSERT INTO checks VALUES (true, 0)",
)

UPGRADES: tuple[tuple[str, ...], ...] = (
    # 1: the tables as they were first made
    (*_TABLES, *FUNCTIONS),
)
"""The statements of each upgrade."""

VERSION = len(UPGRADES)
"""The version that this program reads and writes."""
