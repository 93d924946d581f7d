"""
What the server lists, compared with what is here.

Long lists are settled part by part, each in a transaction of its own, so that other writes
get their turn. Nothing is lost by it: each blob is decided by itself.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence, Set
from typing import NamedTuple

import apsw

from ..model import BlobKey, Priority, SyncStatus
from . import records

__all__ = [
    "LAST_ID",
    "Known",
    "Progress",
    "Swept",
    "apply_listed",
    "apply_tombstones",
    "parts",
    "settle_missing",
]

_PART = 1000
"""How many blobs, here or listed, are settled in one transaction."""

LAST_ID = "~"
"""No id comes behind it."""

_S = SyncStatus
_MISSING = (_S.PENDING_DOWNLOAD, _S.FAILED_DOWNLOAD)


class Progress(NamedTuple):
    """
    How far a comparison has come.

    :ivar behind: it is done up to this id; None if it is done.
    :ivar unsettled: the ids of this part that are listed and PENDING_UPLOAD.
    """

    behind: str | None
    unsettled: list[str]


class Known(NamedTuple):
    """A blob that is recorded here."""

    blob_id: str
    row: int
    status: SyncStatus


def apply_listed(
    connection: apsw.Connection,
    listed: Sequence[str],
    deleted: Set[str],
    namespace: str,
    behind: str,
) -> Progress:
    """
    Settle the next part of what the server lists.

    :param listed: all of it, sorted.
    :param deleted: the ids of which the server has tombstones.
    :param behind: how far it has been settled; '' at the beginning.
    """
    start = bisect_right(listed, behind)
    there = listed[start : start + _PART]
    here = _next_known(connection, namespace, behind)
    # A part ends where the first of the two lists was cut.
    ends = [ids[-1] for ids in (there, [known.blob_id for known in here]) if len(ids) == _PART]
    end = min(ends, default=None)
    if end is not None:
        there = there[: bisect_right(there, end)]
        here = [known for known in here if known.blob_id <= end]
    _expect_nothing(connection, namespace, behind, end)
    return Progress(end, _settle(connection, namespace, there, here, deleted))


def _expect_nothing(
    connection: apsw.Connection, namespace: str, behind: str, end: str | None
) -> None:
    """Let whatever blob come: those that were told of may have been replaced since."""
    connection.execute(
        "UPDATE blobs SET told_size = NULL WHERE namespace = ? AND blob_id > ? AND blob_id <= ?"
        " AND told_size IS NOT NULL",
        (namespace, behind, LAST_ID if end is None else end),
    )


def _next_known(connection: apsw.Connection, namespace: str, behind: str) -> list[Known]:
    rows = connection.execute(
        "SELECT blob_id, id, status FROM blobs WHERE namespace = ? AND blob_id > ?"
        " ORDER BY blob_id LIMIT ?",
        (namespace, behind, _PART),
    )
    return [Known(blob_id, row, SyncStatus(status)) for blob_id, row, status in rows]


def _settle(
    connection: apsw.Connection,
    namespace: str,
    there: Sequence[str],
    here: Sequence[Known],
    deleted: Set[str],
) -> list[str]:
    listed = set(there)
    known = {blob.blob_id for blob in here}
    connection.executemany(
        "INSERT INTO blobs (namespace, blob_id, status, priority) VALUES (?, ?, ?, ?)",
        [
            (namespace, blob_id, _S.PENDING_DOWNLOAD, Priority.DEFAULT)
            for blob_id in there
            if blob_id not in known
        ],
    )
    settle_missing(connection, [blob for blob in here if blob.blob_id not in listed], deleted)
    return [
        blob.blob_id for blob in here if blob.status is _S.PENDING_UPLOAD and blob.blob_id in listed
    ]


def settle_missing(connection: apsw.Connection, missing: Sequence[Known], deleted: Set[str]) -> int:
    """
    Settle what the server does not have: what is here is to be sent, the rest is forgotten.

    :param deleted: the ids of which the server has tombstones.
    :return: how many were SYNCED and are lost on the server.
    """
    lost = [it for it in missing if it.status is _S.SYNCED and it.blob_id not in deleted]
    refused = [it for it in missing if it.status is _S.FAILED_UPLOAD]
    connection.executemany(
        "UPDATE blobs SET status = ? WHERE id = ?",
        [(_S.PENDING_UPLOAD, it.row) for it in (*lost, *refused)],
    )
    # A copy that stays has not to be replaced, but it may still be told that it was deleted.
    connection.executemany(
        "UPDATE blobs SET told_tag = iif(status = ? AND told_tag IS NOT NULL, tag, NULL),"
        " told_size = NULL, untold = 0 WHERE id = ?",
        [(_S.SYNCED, it.row) for it in missing],
    )
    connection.executemany(
        "DELETE FROM blobs WHERE id = ?", [(it.row,) for it in missing if it.status in _MISSING]
    )
    return len(lost)


class Swept(NamedTuple):
    """
    What a part of the tombstones has removed.

    :ivar copies: the ids of the blobs of which there was a copy here.
    :ivar files: the files of their payloads, which are to be removed after the commit.
    """

    copies: list[str]
    files: list[str]


def apply_tombstones(connection: apsw.Connection, deleted: Sequence[str], namespace: str) -> Swept:
    """
    Remove those of some ids that are SYNCED, PENDING_DOWNLOAD or FAILED_DOWNLOAD.

    What is SYNCED stays if the tombstone was known: then it is older.

    :param deleted: ids that the server has deleted and does not list, sorted.
    """
    known = _known_tombstones(connection, deleted, namespace)
    swept = Swept([], [])
    for blob_id in deleted:
        key = BlobKey(namespace, blob_id)
        going = _MISSING if blob_id in known else (_S.SYNCED, *_MISSING)
        record = records.find(connection, key)
        if blob_id not in known:
            records.note_tombstone(connection, key)
        if record is not None and record.status in going:
            removed = records.forget(connection, record.row)
            swept.copies.extend([blob_id] if removed.had_copy else [])
            swept.files.extend([] if removed.file is None else [removed.file])
    return swept


def _known_tombstones(connection: apsw.Connection, ids: Sequence[str], namespace: str) -> set[str]:
    query = "SELECT blob_id FROM tombstones WHERE namespace = ? AND blob_id BETWEEN ? AND ?"
    rows = connection.execute(query, (namespace, ids[0], ids[-1])).fetchall()
    return {str(blob_id) for (blob_id,) in rows}


def parts(ids: Sequence[str]) -> list[Sequence[str]]:
    """Cut a list so that each part is settled in one transaction."""
    return [ids[start : start + _PART] for start in range(0, len(ids), _PART)]
