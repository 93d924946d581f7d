"""The store's questions about many blobs, each answered by one statement."""

from __future__ import annotations

from typing import Any

import apsw

from ..model import BlobKey, Flags, Priority, QueuedTransfer, SyncStatus

__all__ = [
    "find_waiting",
    "flags_of",
    "is_available",
    "list_available",
    "list_external",
    "list_namespaces",
    "list_sizes",
    "list_status",
    "next_outdated",
    "next_transfers",
    "priority_of",
    "progress",
    "sync_status",
]

_OUT_OF_STEP = frozenset(SyncStatus) - {SyncStatus.SYNCED, SyncStatus.LOCAL_ONLY}

# As the index has it, which SQLite would not choose by itself.
_OUTDATED = "status = 1 AND told_tag IS NOT NULL AND tag IS NOT told_tag"


def _rows(connection: apsw.Connection, query: str, *values: Any) -> list[Any]:
    return connection.execute(query, values).fetchall()


def is_available(connection: apsw.Connection, key: BlobKey) -> bool:
    """Whether there is a local copy that is not to be deleted."""
    query = (
        "SELECT 1 FROM blobs WHERE namespace = ? AND blob_id = ?"
        " AND payload IS NOT NULL AND status != ?"
    )
    return bool(_rows(connection, query, *key, SyncStatus.PENDING_DELETE))


def list_available(connection: apsw.Connection, namespace: str) -> list[str]:
    """List the local copies that are not to be deleted, oldest first."""
    query = (
        "SELECT blob_id FROM blobs"
        " WHERE namespace = ? AND payload IS NOT NULL AND status != ? ORDER BY id"
    )
    return [
        blob_id for (blob_id,) in _rows(connection, query, namespace, SyncStatus.PENDING_DELETE)
    ]


def list_external(connection: apsw.Connection, namespace: str) -> list[str]:
    """List those of them that others sealed, oldest first."""
    query = (
        "SELECT blob_id FROM blobs JOIN payloads ON payloads.id = payload"
        " WHERE namespace = ? AND external AND status != ? ORDER BY blobs.id"
    )
    return [
        blob_id for (blob_id,) in _rows(connection, query, namespace, SyncStatus.PENDING_DELETE)
    ]


def list_status(connection: apsw.Connection, namespace: str, status: SyncStatus) -> list[str]:
    """List by status, most urgent first, then oldest first."""
    query = (
        "SELECT blob_id FROM blobs WHERE namespace = ? AND status = ? ORDER BY priority DESC, id"
    )
    return [blob_id for (blob_id,) in _rows(connection, query, namespace, status)]


def flags_of(connection: apsw.Connection, key: BlobKey) -> tuple[Flags, ...]:
    """Look up the flags that the server told of last."""
    query = "SELECT flags FROM blobs WHERE namespace = ? AND blob_id = ?"
    for (flags,) in _rows(connection, query, *key):
        return tuple(Flags[name] for name in flags.split(",") if name)
    return ()


def tag_to_delete(connection: apsw.Connection, key: BlobKey) -> bytes | None:
    """Look up which blob is PENDING_DELETE: by its tag, or the one told of when it became that."""
    query = (
        "SELECT iif(payload IS NULL, former_tag, tag) FROM blobs"
        " WHERE namespace = ? AND blob_id = ? AND status = ?"
    )
    for (tag,) in _rows(connection, query, *key, SyncStatus.PENDING_DELETE):
        return None if tag is None else bytes(tag)
    return None


def list_namespaces(connection: apsw.Connection) -> list[str]:
    """List the namespaces, sorted."""
    query = "SELECT DISTINCT namespace FROM blobs ORDER BY namespace"
    return [namespace for (namespace,) in _rows(connection, query)]


def list_sizes(
    connection: apsw.Connection, namespace: str, status: SyncStatus
) -> list[tuple[str, int]]:
    """List the local copies of a status with their sizes, as :func:`list_status` does."""
    query = (
        "SELECT blob_id, size FROM blobs JOIN payloads ON payloads.id = payload"
        " WHERE namespace = ? AND status = ? ORDER BY priority DESC, blobs.id"
    )
    return _rows(connection, query, namespace, status)


def next_transfers(
    connection: apsw.Connection,
    namespace: str,
    status: SyncStatus,
    limit: int,
    after: QueuedTransfer | None,
) -> list[QueuedTransfer]:
    """List a page of a status, beginning behind ``after``, as :func:`list_status` does."""
    return _page(connection, "status = ?", namespace, status, limit=limit, after=after)


def next_outdated(
    connection: apsw.Connection, namespace: str, limit: int, after: QueuedTransfer | None
) -> list[QueuedTransfer]:
    """List a page of what is SYNCED and perhaps another blob on the server, in the same way."""
    index = "blobs_outdated"
    return _page(connection, _OUTDATED, namespace, limit=limit, after=after, index=index)


def find_waiting(connection: apsw.Connection, namespace: str) -> frozenset[SyncStatus]:
    """Tell which statuses occur of what is out of step; SYNCED for what is outdated."""
    query = (
        f"SELECT column1 FROM (VALUES {', '.join(f'({status:d})' for status in _OUT_OF_STEP)})"
        " WHERE EXISTS (SELECT 1 FROM blobs INDEXED BY blobs_waiting"
        " WHERE namespace = ?1 AND status = column1)"
        f" UNION ALL SELECT {SyncStatus.SYNCED:d} WHERE EXISTS (SELECT 1 FROM blobs"
        f" INDEXED BY blobs_outdated WHERE namespace = ?1 AND {_OUTDATED})"
    )
    return frozenset(SyncStatus(status) for (status,) in _rows(connection, query, namespace))


def _page(
    connection: apsw.Connection,
    condition: str,
    *values: Any,
    limit: int,
    after: QueuedTransfer | None,
    index: str = "blobs_waiting",
) -> list[QueuedTransfer]:
    # Two ranges of the index rather than one condition that it does not serve.
    query = (
        f"SELECT blob_id, priority, id FROM blobs INDEXED BY {index}"
        f" WHERE namespace = ? AND {condition} AND priority {{}}"
        " ORDER BY priority DESC, id LIMIT ?"
    )
    priority, age = (5, 0) if after is None else (after.priority, after.age)
    found = _rows(connection, query.format("= ? AND id > ?"), *values, priority, age, limit)
    found += _rows(connection, query.format("< ?"), *values, priority, limit - len(found))
    return [QueuedTransfer(*row) for row in found]


def sync_status(connection: apsw.Connection, key: BlobKey) -> tuple[SyncStatus, int] | None:
    """Look up a status and the number of failed attempts."""
    query = "SELECT status, retries FROM blobs WHERE namespace = ? AND blob_id = ?"
    for status, retries in _rows(connection, query, *key):
        return SyncStatus(status), retries
    return None


def priority_of(connection: apsw.Connection, key: BlobKey) -> Priority | None:
    """Look up a priority."""
    query = "SELECT priority FROM blobs WHERE namespace = ? AND blob_id = ?"
    for (priority,) in _rows(connection, query, *key):
        return Priority(priority)
    return None


def progress(connection: apsw.Connection, namespace: str | None = None) -> dict[str, int]:
    """Count by status; in all namespaces if it is None."""
    condition, values = ("", ()) if namespace is None else ("WHERE namespace = ?", (namespace,))
    query = f"SELECT status, count(*) FROM blobs {condition} GROUP BY status ORDER BY status"
    return {SyncStatus(status).name: n for status, n in _rows(connection, query, *values)}
