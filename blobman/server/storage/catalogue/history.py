"""
The history of a catalogue, of which clients remember how far they have seen it.

All of this is done in a transaction.
"""

from __future__ import annotations

import secrets

import apsw


def begin_generation(connection: apsw.Connection, first: int) -> None:
    """
    Begin a generation.

    :param first: the first number that will be given in it.
    """
    connection.execute(
        "INSERT OR REPLACE INTO generations VALUES (?, ?)", (first, secrets.token_hex(16))
    )


def begin_only_generation(connection: apsw.Connection, first: int) -> None:
    """Begin a generation, and forget all others, so that clients compare everything once."""
    connection.execute("DELETE FROM generations")
    begin_generation(connection, first)


def forget_tombstones(connection: apsw.Connection) -> None:
    """
    Forget what has been deleted.

    In a copy that was put back, a tombstone may be that of a blob whose id was used again after the
    copy was made. A client would delete the only copy of that.
    """
    connection.execute("DELETE FROM tombstones")
    connection.execute(
        "UPDATE places SET deleted ="
        " (SELECT count(*) FROM blobs WHERE blobs.place = places.place AND reused)"
    )
