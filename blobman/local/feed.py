"""How far the server's changes have been followed: functions that are called in a transaction."""

from __future__ import annotations

from typing import Any, NamedTuple

import apsw

from ..model import FIRST_CURSOR, SyncStatus
from ..reconciliation import FeedState

__all__ = ["Feed", "begin_comparison", "find_feed", "record_feed", "retry_refused"]


class Feed(NamedTuple):
    """
    How far a namespace has been followed.

    :ivar number: that of the full comparison that was begun last.
    """

    state: FeedState
    number: int


def find_feed(connection: apsw.Connection, namespace: str) -> Feed:
    """Look up how far a namespace has been followed."""
    query = "SELECT cursor, is_comparing, compared, comparison FROM feeds WHERE namespace = ?"
    for cursor, is_comparing, compared, number in _rows(connection, query, (namespace,)):
        return Feed(FeedState(cursor, bool(is_comparing), compared), number)
    return Feed(FeedState(), 1)


def record_feed(connection: apsw.Connection, namespace: str, feed: Feed) -> None:
    """Record how far a namespace has been followed."""
    state = feed.state
    connection.execute(
        "INSERT OR REPLACE INTO feeds (namespace, cursor, comparison, is_comparing, compared)"
        " VALUES (?, ?, ?, ?, ?)",
        (namespace, state.cursor, feed.number, state.is_comparing, state.compared),
    )


def begin_comparison(connection: apsw.Connection, namespace: str) -> None:
    """Begin a full comparison; nothing has been seen."""
    state, number = find_feed(connection, namespace)
    begun = state._replace(cursor=FIRST_CURSOR, is_comparing=True)
    record_feed(connection, namespace, Feed(begun, number + 1))


def retry_refused(connection: apsw.Connection, namespace: str) -> int:
    """Make PENDING_UPLOAD what is FAILED_UPLOAD and not known to be on the server."""
    connection.execute(
        "UPDATE blobs SET status = ? WHERE namespace = ? AND status = ? AND told_tag IS NULL",
        (SyncStatus.PENDING_UPLOAD, namespace, SyncStatus.FAILED_UPLOAD),
    )
    return connection.changes()


def _rows(connection: apsw.Connection, query: str, values: tuple[Any, ...]) -> list[Any]:
    # To the end: a query that is left half read keeps its transaction open.
    return connection.execute(query, values).fetchall()
