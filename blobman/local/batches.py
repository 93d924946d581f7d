"""
What is decided about many blobs at once, by a few statements: inside one transaction.

With every statement, and every row of an answer, a thread lets others run, and may have to wait for
them: where the reactor has much to do, ten times as long as the statement takes. So blobs that come
together are recorded together, and an answer is one row where it can be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple, TypeVar

import apsw

from ..errors import BlobAlreadyExistsError, IllegalStatusChange, describe
from ..model import BlobKey, SyncStatus
from ..reconciliation import Expected, check_replacement
from . import records
from .payload_rows import PAYLOAD_COLUMNS, Payload, payload_of, payload_row, remove_payload

__all__ = [
    "Arrival",
    "Entry",
    "add_new",
    "are_pending",
    "find_payloads",
    "find_pending_uploads",
    "mark_uploaded",
    "portions",
    "publish",
    "values_table",
]

T = TypeVar("T")

_MOST = 128
"""Blobs that one statement is about at most."""

_MOST_BYTES = 1 << 20
"""Bytes of content in one statement, which holds a copy of them, unless it is about one blob."""


class Entry(NamedTuple):
    """A blob that is to be recorded, with its payload."""

    key: BlobKey
    payload: Payload
    status: SyncStatus
    priority: int


class Arrival(NamedTuple):
    """
    A payload that was downloaded, and is to become the local copy.

    :ivar replaces: also if there is one already, which is SYNCED.
    :ivar tag: the last bytes of what came, sealed; None if they are not known.
    :ivar sealed_size: in bytes.
    """

    key: BlobKey
    payload: Payload
    replaces: bool = False
    tag: bytes | None = None
    sealed_size: int = 0


def portions(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Cut a list so that one statement can be about each part."""
    for start in range(0, len(items), _MOST):
        yield items[start : start + _MOST]


def _rounded_up(count: int) -> int:
    """Give 1, 2, 4, ... or 128: so there are few different statements, which SQLite keeps."""
    return 1 << (count - 1).bit_length()


@lru_cache
def _values(rows: int, columns: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return f"(VALUES {', '.join([row] * rows)})"


def _table(rows: int, columns: int) -> str:
    """Write a table of so many rows; the last ones may be of NULLs, and are equal to nothing."""
    return _values(_rounded_up(rows), columns)


def values_table(
    rows: Sequence[Sequence[apsw.SQLiteValue]],
) -> tuple[str, tuple[apsw.SQLiteValue, ...]]:
    """Give a table of some rows, at most those of a portion, and the values for it."""
    return _table(len(rows), len(rows[0])), _flat(rows)


def _among(keys: Sequence[BlobKey]) -> str:
    # A plus before a column, and a join in this order, keep SQLite from going through all that
    # waits instead of looking up one key after another.
    return f"{_table(len(keys), 2)} CROSS JOIN blobs ON {_IS_ONE}"


_IS_ONE = "namespace = column1 AND blob_id = column2"

_NUMBER = "ifnull((SELECT comparison FROM feeds WHERE feeds.namespace = blobs.namespace), seen)"
"""The number of the full comparison that was begun last: the server has it, so it has been seen."""

_TOLD_BY_COMING = (
    "(SELECT column4, column5 WHERE told_tag IS NOT NULL"
    " OR EXISTS (SELECT 1 FROM feeds WHERE feeds.namespace = blobs.namespace))"
)
"""A blob that comes tells as much as a change does, where the server tells of changes."""


def _flat(rows: Sequence[Sequence[T]]) -> tuple[T | None, ...]:
    """Give the values of a table."""
    nulls = (_rounded_up(len(rows)) - len(rows)) * len(rows[0])
    return (*chain.from_iterable(rows), *[None] * nulls)


def _rows(connection: apsw.Connection, query: str, values: tuple[Any, ...]) -> list[Any]:
    # To the end: a query that is left half read keeps its transaction open.
    return connection.execute(query, values).fetchall()


def _count(connection: apsw.Connection, among: str, *values: Any) -> int:
    rows = _rows(connection, f"SELECT count(*) FROM {among}", values)
    number: int = rows[0][0]
    return number


# Recording


def add_new(connection: apsw.Connection, entries: Sequence[Entry]) -> list[int]:
    """
    Record new blobs.

    :return: the numbers of their payloads.
    :raise BlobAlreadyExistsError: something is recorded under one of the ids.
    """
    if len(entries) == 1:
        # One that is alone may be here because others can't be recorded with it: before its
        # content is written.
        records.check_absent(connection, entries[0].key)
    payloads = _add_payloads(connection, [entry.payload for entry in entries])
    rows = [
        (*entry.key, entry.status, entry.priority, payload)
        for entry, payload in zip(entries, payloads, strict=True)
    ]
    try:
        for part in portions(rows):
            connection.execute(
                "INSERT INTO blobs (namespace, blob_id, status, priority, payload)"
                f" SELECT * FROM {_table(len(part), 5)} WHERE column1 IS NOT NULL",
                _flat(part),
            )
    except apsw.ConstraintError:
        _check_absent(connection, [entry.key for entry in entries], payloads[0])
        raise
    return payloads


def _check_absent(connection: apsw.Connection, keys: Sequence[BlobKey], first: int) -> None:
    """
    Find out which of some new blobs is in the way.

    :param first: the number of the first payload of those that are being recorded.
    """
    if len(set(keys)) < len(keys):
        twice = next(key for number, key in enumerate(keys) if key in keys[:number])
        raise BlobAlreadyExistsError(f"{describe(twice.blob_id, twice.namespace)} came twice")
    for key in keys:
        record = records.find(connection, key)
        if record is not None and (record.payload is None or record.payload < first):
            records.check_absent(connection, key)


def _add_payloads(connection: apsw.Connection, payloads: Sequence[Payload]) -> list[int]:
    numbers: list[int] = []
    for part in _portions_by_content(payloads):
        connection.execute(
            f"INSERT INTO payloads ({PAYLOAD_COLUMNS})"
            f" SELECT * FROM {_table(len(part), 7)} WHERE column1 IS NOT NULL",
            _flat([payload_row(it) for it in part]),
        )
        # In a statement, each gets the number after that of the one before.
        last = connection.last_insert_rowid()
        numbers += range(last - len(part) + 1, last + 1)
    return numbers


def _portions_by_content(payloads: Sequence[Payload]) -> Iterator[Sequence[Payload]]:
    part: list[Payload] = []
    size = 0
    for payload in payloads:
        more = payload.size if payload.file is None else 0
        if part and (len(part) == _MOST or size + more > _MOST_BYTES):
            yield part
            part, size = [], 0
        part.append(payload)
        size += more
    if part:
        yield part


def publish(connection: apsw.Connection, arrivals: Sequence[Arrival]) -> Sequence[int | None]:
    """
    Make payloads that were downloaded the local copies.

    :return: their numbers; None where there is a copy already, which stays.
    :raise IllegalStatusChange: one of the blobs is to be deleted, or is not to be downloaded.
    :raise InvalidBlob: one of them is another one than the server has told of, or is external and
        would replace one that is not.
    """
    if _are_awaited(connection, arrivals):
        return _publish_awaited(connection, arrivals)
    return [_publish_one(connection, arrival) for arrival in arrivals]


def _are_awaited(connection: apsw.Connection, arrivals: Sequence[Arrival]) -> bool:
    awaited = 0
    for part in portions(arrivals):
        rows = [(*it.key, it.tag, it.sealed_size) for it in part]
        among = (
            f"{_table(len(rows), 4)} CROSS JOIN blobs ON {_IS_ONE}"
            " WHERE payload IS NULL AND +status = ?"
            " AND (told_size IS NULL OR (told_tag = column3 AND told_size = column4))"
        )
        awaited += _count(connection, among, *_flat(rows), SyncStatus.PENDING_DOWNLOAD)
    return awaited == len(arrivals) == len({it.key for it in arrivals})


def _publish_awaited(connection: apsw.Connection, arrivals: Sequence[Arrival]) -> list[int]:
    payloads = _add_payloads(connection, [it.payload for it in arrivals])
    rows = [
        (*it.key, payload, it.tag, it.sealed_size)
        for it, payload in zip(arrivals, payloads, strict=True)
    ]
    for part in portions(rows):
        connection.execute(
            "UPDATE blobs SET status = ?, retries = 0, payload = column3, tag = column4,"
            f" seen = {_NUMBER}, untold = 0, (told_tag, told_size) = {_TOLD_BY_COMING}"
            f" FROM {_table(len(part), 5)} WHERE {_IS_ONE}",
            (SyncStatus.SYNCED, *_flat(part)),
        )
    return payloads


def _publish_one(connection: apsw.Connection, arrival: Arrival) -> int | None:
    key = arrival.key
    record = records.find(connection, key)
    if record is None or record.status == SyncStatus.PENDING_DELETE:
        name = describe(key.blob_id, key.namespace)
        gone = "has been deleted" if record is None else "is to be deleted"
        raise IllegalStatusChange(f"{name} {gone}, so it can't become SYNCED")
    if record.payload is not None:
        if arrival.replaces and record.status is SyncStatus.SYNCED:
            _check_expected(connection, record.row, arrival)
            was_external = _is_external(connection, record.payload)
            check_replacement(key, was_external, arrival.payload.external)
            return _replace(connection, record.row, record.payload, arrival)
        return None
    records.check_change(key, record.status, SyncStatus.SYNCED)
    _check_expected(connection, record.row, arrival)
    (number,) = _publish_awaited(connection, [arrival])
    return number


def _check_expected(connection: apsw.Connection, row: int, arrival: Arrival) -> None:
    query = (
        "SELECT told_tag, told_size, former_tag FROM blobs WHERE id = ? AND told_size IS NOT NULL"
    )
    for told in _rows(connection, query, (row,)):
        Expected(*told).check(arrival.key, arrival.tag, arrival.sealed_size)


def _is_external(connection: apsw.Connection, payload: int) -> bool:
    ((external,),) = _rows(connection, "SELECT external FROM payloads WHERE id = ?", (payload,))
    return bool(external)


def _replace(connection: apsw.Connection, row: int, old: int, arrival: Arrival) -> int:
    (number,) = _add_payloads(connection, [arrival.payload])
    connection.execute(
        "UPDATE blobs SET payload = column3, retries = 0, tag = column4,"
        f" seen = {_NUMBER}, untold = 0, (told_tag, told_size) = {_TOLD_BY_COMING}"
        f" FROM {_table(1, 5)} WHERE {_IS_ONE}",
        (*arrival.key, number, arrival.tag, arrival.sealed_size),
    )
    remove_payload(connection, old)
    return number


def mark_uploaded(connection: apsw.Connection, tags: Mapping[BlobKey, bytes | None]) -> list[str]:
    """
    Make SYNCED those that wait to be uploaded; others stay.

    :param tags: what each was sealed with; None if it is not known.
    :return: the ids of those that are not SYNCED now.
    """
    others: list[str] = []
    for part in portions([(*key, tag) for key, tag in tags.items()]):
        # What was told before is older than what was sent.
        connection.execute(
            "UPDATE blobs SET status = ?, retries = 0, tag = ifnull(column3, tag),"
            " told_tag = iif(told_tag = column3, told_tag, NULL),"
            " untold = NOT untold AND told_tag IS NOT column3,"
            f" seen = {_NUMBER} FROM {_table(len(part), 3)}"
            f" WHERE {_IS_ONE} AND +status = ?",
            (SyncStatus.SYNCED, *_flat(part), SyncStatus.PENDING_UPLOAD),
        )
        if connection.changes() < len(part):
            keys = [BlobKey(namespace, blob_id) for namespace, blob_id, _ in part]
            others += [key.blob_id for key in keys if not _is_synced(connection, key)]
    return others


def _is_synced(connection: apsw.Connection, key: BlobKey) -> bool:
    record = records.find(connection, key)
    return record is not None and record.status is SyncStatus.SYNCED


# Looking up


def find_payloads(
    connection: apsw.Connection, keys: Sequence[BlobKey], hidden: bool
) -> dict[BlobKey, Payload]:
    """
    Read local copies; the content too, if it is small.

    :param hidden: whether those that wait for their deletion count.
    """
    condition = "" if hidden else "WHERE status != ?"
    return _find(connection, keys, condition, *([] if hidden else [SyncStatus.PENDING_DELETE]))


def find_pending_uploads(
    connection: apsw.Connection, keys: Sequence[BlobKey], max_size: int
) -> dict[BlobKey, Payload]:
    """Read the local copies that wait to be uploaded and are not larger than that."""
    condition = "WHERE status = ? AND size <= ?"
    return _find(connection, keys, condition, SyncStatus.PENDING_UPLOAD, max_size)


def _find(
    connection: apsw.Connection, keys: Sequence[BlobKey], condition: str, *values: int
) -> dict[BlobKey, Payload]:
    found: dict[BlobKey, Payload] = {}
    for part in portions(keys):
        query = (
            f"SELECT namespace, blob_id, {PAYLOAD_COLUMNS}"
            f" FROM {_among(part)} CROSS JOIN payloads ON payloads.id = payload {condition}"
        )
        for namespace, blob_id, *row in _rows(connection, query, (*_flat(part), *values)):
            found[BlobKey(namespace, blob_id)] = payload_of(*row)
    return found


def are_pending(connection: apsw.Connection, payloads: Sequence[int]) -> bool:
    """
    Ask whether payloads are all still there, and wait to be uploaded.

    :param payloads: their numbers, each once.
    """
    pending = 0
    for part in portions(payloads):
        among = f"{_table(len(part), 1)} CROSS JOIN blobs ON payload = column1 WHERE +status = ?"
        rows = [(number,) for number in part]
        pending += _count(connection, among, *_flat(rows), SyncStatus.PENDING_UPLOAD)
    return pending == len(payloads)
