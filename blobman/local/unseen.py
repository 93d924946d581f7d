"""The end of a full comparison: what the server has not told of is what it does not have."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, NamedTuple

import apsw

from ..model import SyncStatus
from ..reconciliation import Feed
from .batches import portions, values_table
from .comparison import LAST_ID, Known, Swept, apply_tombstones, settle_missing
from .feed import find_feed, record_feed

__all__ = ["Settled", "has_unseen", "settle_part"]

_PART = 2000
"""How many blobs, or tombstones, are settled in one transaction."""

_UNSEEN = "seen < ?"
_UNCONFIRMED = f"(status = {SyncStatus.SYNCED:d} AND tag IS NULL AND told_tag IS NOT NULL)"


class Settled(NamedTuple):
    """
    What a part has come to.

    :ivar behind: it is done up to this id; None if it is done.
    :ivar swept: what tombstones have removed.
    :ivar lost: how many were SYNCED and are lost on the server.
    """

    behind: str | None
    swept: Swept
    lost: int


def has_unseen(connection: apsw.Connection, namespace: str) -> bool:
    """Whether it takes tombstones to settle what is SYNCED."""
    number = find_feed(connection, namespace).number
    query = (
        "SELECT 1 FROM blobs"
        f" WHERE namespace = ? AND status = ? AND ({_UNSEEN} OR {_UNCONFIRMED}) LIMIT 1"
    )
    return bool(_rows(connection, query, namespace, SyncStatus.SYNCED, number))


def settle_part(
    connection: apsw.Connection,
    namespace: str,
    begun: Feed,
    tombstones: Sequence[str],
    now: float,
    behind: str,
) -> Settled | None:
    """
    Settle the next part of what has not been seen; with the last one, the comparison ends.

    :param begun: what the namespace had come to when the end began.
    :param tombstones: the ids of which the server has tombstones, sorted.
    :param behind: how far it has been settled; '' at the beginning.
    :return: None if the namespace has left that meanwhile; nothing has been done.
    """
    if find_feed(connection, namespace) != begun:
        return None
    start = bisect_right(tombstones, behind)
    dead = tombstones[start : start + _PART]
    here_end = _end_of_part(connection, namespace, behind)
    end = min((it for it in (here_end, *dead[_PART - 1 :]) if it is not None), default=None)
    if end is not None:
        dead = dead[: bisect_right(dead, end)]
    settled = _settle(connection, namespace, begun.number, dead, behind, end)
    if end is None:
        record_feed(connection, namespace, begun.ended(now))
    return settled


def _end_of_part(connection: apsw.Connection, namespace: str, behind: str) -> str | None:
    query = (
        "SELECT blob_id FROM blobs WHERE namespace = ? AND blob_id > ?"
        " ORDER BY blob_id LIMIT 1 OFFSET ?"
    )
    for (blob_id,) in _rows(connection, query, namespace, behind, _PART - 1):
        return str(blob_id)
    return None


def _settle(
    connection: apsw.Connection,
    namespace: str,
    number: int,
    dead: Sequence[str],
    behind: str,
    end: str | None,
) -> Settled:
    there = _seen_among(connection, namespace, number, dead)
    gone = [blob_id for blob_id in dead if blob_id not in there]
    swept = apply_tombstones(connection, gone, namespace) if gone else Swept([], [])
    values = (namespace, behind, LAST_ID if end is None else end)
    place = "namespace = ? AND blob_id > ? AND blob_id <= ?"
    query = f"SELECT blob_id, id, status FROM blobs WHERE {place} AND {_UNSEEN}"
    missing = [
        Known(blob_id, row, SyncStatus(status))
        for blob_id, row, status in _rows(connection, query, *values, number)
    ]
    lost = settle_missing(connection, missing, set(gone))
    query = f"SELECT blob_id, id FROM blobs WHERE {place} AND {_UNCONFIRMED}"
    # Nothing was ever deleted under these ids: what the server has is what is here.
    connection.executemany(
        "UPDATE blobs SET tag = told_tag WHERE id = ?",
        [(row,) for blob_id, row in _rows(connection, query, *values) if blob_id not in there],
    )
    return Settled(end, swept, lost)


def _seen_among(
    connection: apsw.Connection, namespace: str, number: int, ids: Sequence[str]
) -> set[str]:
    found: set[str] = set()
    for part in portions(ids):
        table, values = values_table([(blob_id,) for blob_id in part])
        query = (
            f"SELECT blob_id FROM {table}"
            " CROSS JOIN blobs ON namespace = ? AND blob_id = column1 WHERE seen >= ?"
        )
        found.update(it for (it,) in _rows(connection, query, *values, namespace, number))
    return found


def _rows(connection: apsw.Connection, query: str, *values: Any) -> list[Any]:
    return connection.execute(query, values).fetchall()
