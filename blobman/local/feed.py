"""How far the server's changes have been followed: functions that are called in a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apsw

from ..model import SyncStatus
from ..reconciliation import Feed, FeedState

__all__ = [
    "begin_comparison",
    "find_feed",
    "list_untold",
    "record_feed",
    "retry_refused",
    "send_again",
]


def find_feed(connection: apsw.Connection, namespace: str) -> Feed:
    """Look up how far a namespace has been followed."""
    query = (
        "SELECT cursor, is_comparing, compared, comparison, resume FROM feeds WHERE namespace = ?"
    )
    for cursor, is_comparing, compared, *rest in _rows(connection, query, (namespace,)):
        return Feed(FeedState(cursor, bool(is_comparing), compared), *rest)
    return Feed()


def record_feed(connection: apsw.Connection, namespace: str, feed: Feed) -> None:
    """Record how far a namespace has been followed."""
    connection.execute(
        "INSERT OR REPLACE INTO feeds"
        " (namespace, cursor, is_comparing, compared, comparison, resume)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (namespace, *feed.state, feed.number, feed.resume),
    )


def begin_comparison(connection: apsw.Connection, namespace: str, is_refused: bool) -> None:
    """Begin a full comparison; nothing has been seen."""
    record_feed(connection, namespace, find_feed(connection, namespace).begun(is_refused))


def retry_refused(connection: apsw.Connection, namespace: str) -> int:
    """Make PENDING_UPLOAD what is FAILED_UPLOAD and not known to be on the server."""
    connection.execute(
        "UPDATE blobs SET status = ? WHERE namespace = ? AND status = ? AND told_tag IS NULL",
        (SyncStatus.PENDING_UPLOAD, namespace, SyncStatus.FAILED_UPLOAD),
    )
    return connection.changes()


def list_untold(connection: apsw.Connection, namespace: str) -> list[str]:
    """List what was uploaded and not told of since."""
    # SQLite would look at all that is SYNCED.
    query = (
        "SELECT blob_id FROM blobs INDEXED BY blobs_untold"
        " WHERE namespace = ? AND untold AND status = 1"
    )
    return [str(blob_id) for (blob_id,) in _rows(connection, query, (namespace,))]


def send_again(connection: apsw.Connection, namespace: str, ids: Sequence[str]) -> int:
    """Make PENDING_UPLOAD those of some blobs that were uploaded and not told of since."""
    query = (
        "UPDATE blobs SET status = ? WHERE namespace = ? AND blob_id = ? AND untold AND status = ?"
    )
    values = [(SyncStatus.PENDING_UPLOAD, namespace, blob_id, SyncStatus.SYNCED) for blob_id in ids]
    before = connection.total_changes()
    connection.executemany(query, values)
    return connection.total_changes() - before


def _rows(connection: apsw.Connection, query: str, values: tuple[Any, ...]) -> list[Any]:
    # To the end: a query that is left half read keeps its transaction open.
    return connection.execute(query, values).fetchall()
