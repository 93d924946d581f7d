"""
What the store decides, as functions on a connection: each is called inside one transaction.

The table of legal changes is ``model.STATUS_CHANGES``; here is who asks it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import apsw

from ..errors import BlobAlreadyExistsError, IllegalStatusChange, describe
from ..model import (
    UNAVAILABLE_STATUSES,
    BlobKey,
    Priority,
    SyncStatus,
    is_legal_change,
)
from .payload_rows import Payload, add_payload, remove_payload

__all__ = [
    "Record",
    "Removed",
    "change_status",
    "check_absent",
    "check_change",
    "count_retry",
    "fetch_instead",
    "find",
    "forget",
    "forget_missing",
    "note_tombstone",
    "record_preamble",
    "record_tag",
    "remove",
    "restore",
    "set_priority",
    "take_back",
]

_RESETTING = (SyncStatus.PENDING_DOWNLOAD, SyncStatus.SYNCED)


class Record(NamedTuple):
    """
    A blob, as it is recorded.

    :ivar row: the number of the record; its order is the age.
    :ivar payload: the number of the payload; None if there is no local copy.
    """

    row: int
    status: SyncStatus
    priority: int
    retries: int
    payload: int | None


def find(connection: apsw.Connection, key: BlobKey) -> Record | None:
    """Look up what is recorded about a blob."""
    for row, status, priority, retries, payload in _rows(
        connection,
        "SELECT id, status, priority, retries, payload FROM blobs"
        " WHERE namespace = ? AND blob_id = ?",
        key,
    ):
        return Record(row, SyncStatus(status), priority, retries, payload)
    return None


def check_absent(connection: apsw.Connection, key: BlobKey) -> None:
    """
    See to it that nothing is recorded about a blob.

    :raise BlobAlreadyExistsError: something is.
    """
    record = find(connection, key)
    if record is not None:
        name = describe(key.blob_id, key.namespace)
        raise BlobAlreadyExistsError(f"{name} exists ({_WORDS[record.status]})")


_WORDS = {
    SyncStatus.SYNCED: "here and on the server",
    SyncStatus.PENDING_UPLOAD: "it waits to be uploaded",
    SyncStatus.PENDING_DOWNLOAD: "it waits to be downloaded",
    SyncStatus.FAILED_UPLOAD: "its upload was refused",
    SyncStatus.FAILED_DOWNLOAD: "its download did not verify",
    SyncStatus.PENDING_DELETE: "it waits to be deleted",
    SyncStatus.LOCAL_ONLY: "here only",
}


def restore(
    connection: apsw.Connection,
    key: BlobKey,
    payload: Payload | None,
    status: SyncStatus,
    priority: Priority,
    retries: int,
) -> None:
    """
    Record a blob as another database had it.

    :raise BlobAlreadyExistsError: something is recorded under that id.
    """
    check_absent(connection, key)
    added = None if payload is None else add_payload(connection, payload)
    row = _insert(connection, key, status, priority, added)
    connection.execute("UPDATE blobs SET retries = ? WHERE id = ?", (retries, row))


def _insert(
    connection: apsw.Connection,
    key: BlobKey,
    status: SyncStatus,
    priority: int,
    payload: int | None,
) -> int:
    connection.execute(
        "INSERT INTO blobs (namespace, blob_id, status, priority, payload) VALUES (?, ?, ?, ?, ?)",
        (*key, status, priority, payload),
    )
    return connection.last_insert_rowid()


def check_change(key: BlobKey, before: SyncStatus | None, after: SyncStatus | None) -> None:
    """
    See to it that the table has a change.

    :raise IllegalStatusChange: it does not.
    """
    if not is_legal_change(before, after):
        old, new = ("nothing" if status is None else status.name for status in (before, after))
        name = describe(key.blob_id, key.namespace)
        raise IllegalStatusChange(f"{name} can't change from {old} to {new}")


def change_status(
    connection: apsw.Connection, key: BlobKey, status: SyncStatus, priority: Priority | None
) -> None:
    """
    Change a status; make the record if there is none.

    :raise IllegalStatusChange: the table does not have it, or the new status says that
        there is a local copy, and there is none.
    """
    record = find(connection, key)
    check_change(key, None if record is None else record.status, status)
    _check_copy(key, status, record is not None and record.payload is not None)
    if record is None:
        _insert(connection, key, status, priority or Priority.DEFAULT, None)
        return
    reset = status in _RESETTING and status != record.status
    connection.execute(
        "UPDATE blobs SET status = ?, retries = ?, priority = max(priority, ?) WHERE id = ?",
        (status, 0 if reset else record.retries, priority or 0, record.row),
    )
    if status is SyncStatus.PENDING_DELETE is not record.status:
        # What is told from now on is another blob than the one that is to be deleted.
        connection.execute("UPDATE blobs SET former_tag = told_tag WHERE id = ?", (record.row,))


def _check_copy(key: BlobKey, status: SyncStatus, here: bool) -> None:
    fits = not here if status in UNAVAILABLE_STATUSES else here
    if status != SyncStatus.PENDING_DELETE and not fits:
        name = describe(key.blob_id, key.namespace)
        there_is = "a" if here else "no"
        raise IllegalStatusChange(f"{name} can't be {status.name}: there is {there_is} local copy")


def count_retry(connection: apsw.Connection, key: BlobKey) -> int:
    """Count a failed attempt and give the new number; 0 if nothing is recorded."""
    for (retries,) in _rows(
        connection,
        "UPDATE blobs SET retries = retries + 1 WHERE namespace = ? AND blob_id = ?"
        " RETURNING retries",
        key,
    ):
        return int(retries)
    return 0


def record_preamble(connection: apsw.Connection, key: BlobKey, preamble: bytes) -> None:
    """Record what a blob that waits for its upload is sealed with, unless that is recorded."""
    connection.execute(
        "UPDATE payloads SET preamble = ? WHERE preamble = x'' AND id ="
        " (SELECT payload FROM blobs WHERE namespace = ? AND blob_id = ? AND status = ?)",
        (preamble, *key, SyncStatus.PENDING_UPLOAD),
    )


def record_tag(connection: apsw.Connection, key: BlobKey, tag: bytes) -> None:
    """Record the tag of what is SYNCED here, if none is known."""
    connection.execute(
        "UPDATE blobs SET tag = ?"
        " WHERE namespace = ? AND blob_id = ? AND status = ? AND tag IS NULL",
        (tag, *key, SyncStatus.SYNCED),
    )


def set_priority(connection: apsw.Connection, key: BlobKey, priority: Priority) -> None:
    """Change a priority, if anything is recorded."""
    connection.execute(
        "UPDATE blobs SET priority = ? WHERE namespace = ? AND blob_id = ?", (priority, *key)
    )


class Removed(NamedTuple):
    """
    What was removed.

    :ivar had_copy: whether there was a local copy.
    :ivar file: the name of its file, which is to be removed after the commit; None if none.
    """

    had_copy: bool
    file: str | None


def remove(connection: apsw.Connection, key: BlobKey) -> Removed:
    """
    Remove a blob with its payload.

    :raise IllegalStatusChange: it has not been uploaded.
    """
    record = find(connection, key)
    if record is None:
        return Removed(False, None)
    check_change(key, record.status, None)
    if record.status is SyncStatus.PENDING_DELETE and _was_there(connection, record):
        note_tombstone(connection, key)
    if _has_successor(connection, record):
        return _wait_again(connection, record)
    return forget(connection, record.row)


def _was_there(connection: apsw.Connection, record: Record) -> bool:
    """Whether the server may have had the blob: there is a copy, or it has told of one."""
    query = "SELECT payload IS NOT NULL OR told_tag IS NOT NULL FROM blobs WHERE id = ?"
    return any(was_there for (was_there,) in _rows(connection, query, (record.row,)))


def _has_successor(connection: apsw.Connection, record: Record) -> bool:
    """Whether the server has another blob under the id than this one, which is deleted."""
    query = (
        "SELECT told_tag IS NOT former_tag AND told_tag IS NOT tag FROM blobs"
        " WHERE id = ? AND told_tag IS NOT NULL"
    )
    for (is_news,) in _rows(connection, query, (record.row,)):
        is_deleted_there = record.status is SyncStatus.PENDING_DELETE
        return record.status is SyncStatus.LOCAL_ONLY or (is_deleted_there and bool(is_news))
    return False


def fetch_instead(connection: apsw.Connection, key: BlobKey) -> Removed:
    """Remove the payload of a blob that is to be deleted: another one is to be downloaded."""
    record = find(connection, key)
    if record is None or record.status is not SyncStatus.PENDING_DELETE:
        return Removed(False, None)
    note_tombstone(connection, key)
    connection.execute(
        "UPDATE blobs SET told_tag = NULL, told_size = NULL"
        " WHERE id = ? AND told_tag IS iif(payload IS NULL, former_tag, tag)",
        (record.row,),
    )
    return _wait_again(connection, record)


def _wait_again(connection: apsw.Connection, record: Record) -> Removed:
    """Remove the payload of a blob, if it has one, and have it wait for its download."""
    connection.execute(
        "UPDATE blobs SET status = ?, retries = 0, payload = NULL, tag = NULL WHERE id = ?",
        (SyncStatus.PENDING_DOWNLOAD, record.row),
    )
    if record.payload is None:
        return Removed(False, None)
    return Removed(True, remove_payload(connection, record.payload))


def note_tombstone(connection: apsw.Connection, key: BlobKey) -> None:
    """Note that the server has a tombstone that is older than any blob to come under the id."""
    connection.execute("INSERT OR IGNORE INTO tombstones VALUES (?, ?)", key)


def forget(connection: apsw.Connection, row: int) -> Removed:
    """Remove a record with its payload, whatever its status."""
    for (payload,) in _rows(connection, "DELETE FROM blobs WHERE id = ? RETURNING payload", (row,)):
        if payload is not None:
            return Removed(True, remove_payload(connection, payload))
    return Removed(False, None)


def take_back(connection: apsw.Connection, payload: int) -> None:
    """
    Undo what was recorded last: a blob that was put is gone, one that came waits again.

    So does one that the server has told of since a blob was put here under its id.

    :param payload: the number of its payload.
    """
    query = "SELECT id, status = ? OR told_tag IS NOT NULL FROM blobs WHERE payload = ?"
    for row, is_there in _rows(connection, query, (SyncStatus.SYNCED, payload)):
        if is_there:
            connection.execute(
                "UPDATE blobs SET status = ?, payload = NULL, tag = NULL WHERE id = ?",
                (SyncStatus.PENDING_DOWNLOAD, row),
            )
            remove_payload(connection, payload)
        else:
            forget(connection, row)


def forget_missing(connection: apsw.Connection, key: BlobKey) -> None:
    """Remove the record of a blob that is not here, not to be deleted, and not expected."""
    connection.execute(
        "DELETE FROM blobs"
        " WHERE namespace = ? AND blob_id = ? AND status IN (?, ?) AND told_size IS NULL",
        (*key, *UNAVAILABLE_STATUSES),
    )


def _rows(connection: apsw.Connection, query: str, values: tuple[Any, ...]) -> list[Any]:
    # To the end: a query that is left half read keeps its transaction open.
    return connection.execute(query, values).fetchall()
