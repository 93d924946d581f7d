"""What the server tells of its changes, applied: page by page, each in one transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import apsw

from ..model import ChangesPage, Flags, Priority, RemoteChange, SyncStatus
from ..reconciliation import Action, AppliedChanges, Feed, Known, reconcile
from .batches import portions, values_table
from .feed import find_feed, record_feed
from .payload_rows import remove_payload

__all__ = ["Applied", "apply_page"]

_S = SyncStatus


class Applied(NamedTuple):
    """
    What a page has changed.

    :ivar files: those of payloads that were removed; they are to be removed after the commit.
    """

    changes: AppliedChanges
    files: list[str]


class _Row(NamedTuple):
    """What is recorded of a blob, and where."""

    number: int
    known: Known
    payload: int | None
    flags: str


Item = tuple[RemoteChange, _Row]


def apply_page(
    connection: apsw.Connection, namespace: str, page: ChangesPage, since: str
) -> Applied:
    """Apply some changes, and come to their cursor, unless the namespace has left ``since``."""
    feed = find_feed(connection, namespace)
    if feed.state.cursor != since:
        return Applied(AppliedChanges.nothing(is_current=False), [])
    applied = _Page(connection, namespace, feed).apply(page.changes)
    record_feed(connection, namespace, feed.moved(page))
    return applied


class _Page:
    """Applies the changes of a page, those with the same action together."""

    def __init__(self, connection: apsw.Connection, namespace: str, feed: Feed) -> None:
        self._connection = connection
        self._namespace = namespace
        self._is_comparing = feed.state.is_comparing
        self._seen = feed.number
        self._changes = AppliedChanges.nothing(is_current=True)
        self._files: list[str] = []

    def apply(self, changes: Sequence[RemoteChange]) -> Applied:
        """Do what the table says about each of them."""
        rows = self._look_up([change.blob_id for change in changes])
        new: list[RemoteChange] = []
        by_action: defaultdict[Action, list[Item]] = defaultdict(list)
        for change in changes:
            row = rows.get(change.blob_id)
            action = reconcile(None if row is None else row.known, change)
            if row is not None:
                by_action[action].append((change, row))
            elif action is Action.FETCH:
                new.append(change)
        self._note_tombstones(changes)
        self._add(new)
        for action, items in by_action.items():
            self._do(action, items)
        return Applied(self._changes, self._files)

    def _look_up(self, ids: Sequence[str]) -> dict[str, _Row]:
        found: dict[str, _Row] = {}
        for part in portions(ids):
            rows = [(blob_id,) for blob_id in part]
            table, values = values_table(rows)
            query = (
                "SELECT blob_id, id, status, tag, told_tag, payload, flags, EXISTS ("
                "SELECT 1 FROM tombstones AS t"
                " WHERE t.namespace = blobs.namespace AND t.blob_id = blobs.blob_id)"
                f" FROM {table} CROSS JOIN blobs ON namespace = ? AND blob_id = column1"
            )
            for blob_id, number, status, tag, told_tag, payload, flags, is_dead in _rows(
                self._connection, query, (*values, self._namespace)
            ):
                known = Known(SyncStatus(status), tag, told_tag, bool(is_dead))
                found[blob_id] = _Row(number, known, payload, flags)
        return found

    def _note_tombstones(self, changes: Sequence[RemoteChange]) -> None:
        self._connection.executemany(
            "INSERT OR IGNORE INTO tombstones VALUES (?, ?)",
            [(self._namespace, change.blob_id) for change in changes if change.is_deleted],
        )

    def _add(self, changes: Sequence[RemoteChange]) -> None:
        """Note what is to be fetched, and nothing is recorded of."""
        self._connection.executemany(
            "INSERT INTO blobs"
            " (namespace, blob_id, status, priority, told_tag, told_size, flags, seen)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    self._namespace,
                    change.blob_id,
                    _S.PENDING_DOWNLOAD,
                    Priority.DEFAULT,
                    change.tag,
                    change.size,
                    _join(change.flags),
                    self._seen,
                )
                for change in changes
            ],
        )
        self._changes.fetch.extend(change.blob_id for change in changes)

    def _do(self, action: Action, items: Sequence[Item]) -> None:
        if action.removes:
            self._remove(items)
        elif action.notes:
            self._note(items)
        else:
            self._mark(items)
        special = self._SPECIAL.get(action)
        if special is not None:
            special(self, items)

    def _note(self, items: Sequence[Item]) -> None:
        """Record what the server told, and that it was seen."""
        self._connection.executemany(
            "UPDATE blobs SET former_tag = iif(told_tag IS ?1, former_tag, told_tag),"
            " told_tag = ?1, told_size = ?2, flags = ?3, seen = ?4, untold = 0 WHERE id = ?5",
            [
                (change.tag, change.size, _join(change.flags), self._seen, row.number)
                for change, row in items
            ],
        )
        self._changes.flags.extend(
            (change.blob_id, change.flags)
            for change, row in items
            if row.known.status is _S.SYNCED and row.flags != _join(change.flags)
        )

    def _mark(self, items: Sequence[Item]) -> None:
        """Record that it was seen; or, of what was deleted, that the server has nothing."""
        self._connection.executemany(
            "UPDATE blobs SET seen = ? WHERE id = ?",
            [(self._seen, row.number) for change, row in items if not change.is_deleted],
        )
        self._connection.executemany(
            "UPDATE blobs SET told_tag = NULL, told_size = NULL, untold = (status = ?)"
            " WHERE id = ?",
            [(_S.PENDING_UPLOAD, row.number) for change, row in items if change.is_deleted],
        )

    def _fetch(self, items: Sequence[Item]) -> None:
        self._connection.executemany(
            "UPDATE blobs SET status = ?, retries = 0 WHERE id = ?",
            [(_S.PENDING_DOWNLOAD, row.number) for _, row in items],
        )
        self._changes.fetch.extend(change.blob_id for change, _ in items)

    def _settle(self, items: Sequence[Item]) -> None:
        self._connection.executemany(
            "UPDATE blobs SET status = ?, retries = 0 WHERE id = ?",
            [(_S.SYNCED, row.number) for _, row in items],
        )

    def _replace(self, items: Sequence[Item]) -> None:
        self._changes.outdated.extend(change.blob_id for change, _ in items)

    def _compare(self, items: Sequence[Item]) -> None:
        for change, row in items:
            if row.known.status is _S.PENDING_UPLOAD:
                self._changes.unsettled.append(change.blob_id)
            elif not self._is_comparing:  # Else its end tells.
                self._changes.outdated.append(change.blob_id)

    def _remove(self, items: Sequence[Item]) -> None:
        """Remove records with their payloads."""
        self._connection.executemany(
            "DELETE FROM blobs WHERE id = ?", [(row.number,) for _, row in items]
        )
        for _, row in items:
            if row.payload is not None:
                file = remove_payload(self._connection, row.payload)
                self._files += [] if file is None else [file]

    def _tell_deleted(self, items: Sequence[Item]) -> None:
        self._changes.deleted.extend(change.blob_id for change, _ in items)

    _SPECIAL: ClassVar[dict[Action, Callable[[_Page, Sequence[Item]], None]]] = {
        Action.FETCH: _fetch,
        Action.SETTLE: _settle,
        Action.REPLACE: _replace,
        Action.COMPARE: _compare,
        Action.REMOVE: _tell_deleted,
    }


def _join(flags: Sequence[Flags]) -> str:
    return ",".join(flags)


def _rows(connection: apsw.Connection, query: str, values: tuple[Any, ...]) -> list[Any]:
    # To the end: a query that is left half read keeps its transaction open.
    return connection.execute(query, values).fetchall()
