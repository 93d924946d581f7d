"""
What becomes of what Soledad recorded.

Soledad's rules were looser than ours, and its writes were not transactions, so its database
can hold what ours can't. What does not fit is brought to what loses nothing and what ``sync``
can put right; each time, a :class:`Remark` is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from ..model import (
    UNAVAILABLE_STATUSES,
    BlobKey,
    Priority,
    SyncStatus,
    check_key,
)
from .soledad import OldBlob, own_name

__all__ = ["INCOMING", "NewBlob", "Remark", "SoledadReport", "Tally", "inherit"]

_S = SyncStatus

INCOMING = "MX"
"""The namespace where Soledad's server delivers: what is there has no seal of the user's."""

_MOST_RETRIES = 2**31


class Remark(str, Enum):
    """What was not carried over as it was, in words; the value is for people."""

    NO_STATUS = "a payload without a valid status: PENDING_UPLOAD, or what is noted beside it"
    UNVERIFIED = "a payload whose download had not ended: dropped, and downloaded again"
    MISSING = "SYNCED without a payload: PENDING_DOWNLOAD"
    NOTHING = "a status without a payload, and nothing to download: dropped"
    NO_PRIORITY = "without a valid priority: MEDIUM"
    NO_RETRIES = "with an impossible number of failed attempts: 0"
    BAD_NAME = "an id or a namespace that is not allowed: left in the old database"


class NewBlob(NamedTuple):
    """
    A blob as it is going to be recorded.

    :ivar keeps_payload: whether the old payload comes along.
    :ivar external: whether others may have sealed it: then it is never sealed as the user's own.
    """

    key: BlobKey
    status: SyncStatus
    priority: Priority
    retries: int
    keeps_payload: bool
    external: bool = False


def inherit(
    old: OldBlob, external_namespaces: Collection[str] = ()
) -> tuple[NewBlob | None, list[Remark]]:
    """
    Decide what becomes of a blob.

    :param external_namespaces: where others have put blobs, besides :data:`INCOMING`. Soledad
        did not record which were theirs.
    :return: None for what is not carried over; and what there is to remark.
    """
    remarks: list[Remark] = []
    key = _key(old)
    if key is None:
        return None, [Remark.BAD_NAME]
    before = _member(old.status)
    status = _status_with(old, before) if old.size is not None else _status_without(before)
    if status is None:
        return None, [Remark.NOTHING]
    keeps = old.size is not None and status not in UNAVAILABLE_STATUSES
    if old.size is not None and not keeps:
        remarks.append(Remark.UNVERIFIED)
    elif status is not before:
        remarks.append(Remark.NO_STATUS if keeps else Remark.MISSING)
    priority, retries = _priority(old, remarks), _retries(old, remarks)
    left = retries if status is before else 0
    external = keeps and _may_be_external(key, status, external_namespaces)
    return NewBlob(key, status, priority, left, keeps, external), remarks


def _may_be_external(key: BlobKey, status: SyncStatus, namespaces: Collection[str]) -> bool:
    # What is LOCAL_ONLY was put here.
    is_there = key.namespace == INCOMING or key.namespace in namespaces
    return is_there and status is not _S.LOCAL_ONLY


def _key(old: OldBlob) -> BlobKey | None:
    try:
        return check_key(old.blob_id, own_name(old.namespace))
    except (TypeError, ValueError):
        return None


def _member(status: object) -> SyncStatus | None:
    return next((it for it in SyncStatus if it == status), None)


def _status_with(old: OldBlob, status: SyncStatus | None) -> SyncStatus:
    # What is beside a payload is PENDING_UPLOAD, unless an old version of Soledad wrote it.
    return status or _member(old.own_status) or _S.PENDING_UPLOAD


def _status_without(status: SyncStatus | None) -> SyncStatus | None:
    # What waits for an upload and is lost is found again, if the server has it, by `sync`.
    if status is _S.SYNCED:
        return _S.PENDING_DOWNLOAD
    return status if status in (*UNAVAILABLE_STATUSES, _S.PENDING_DELETE) else None


def _priority(old: OldBlob, remarks: list[Remark]) -> Priority:
    for priority in Priority:
        if priority == old.priority:
            return priority
    remarks.append(Remark.NO_PRIORITY)
    return Priority.DEFAULT


def _retries(old: OldBlob, remarks: list[Remark]) -> int:
    if old.retries is None:
        return 0
    if isinstance(old.retries, int) and 0 <= old.retries < _MOST_RETRIES:
        return old.retries
    remarks.append(Remark.NO_RETRIES)
    return 0


@dataclass(frozen=True)
class SoledadReport:
    """
    What was taken over from a database of Soledad, or would be.

    :ivar path: where it was; the store's database is there now.
    :ivar kept: where it is now.
    :ivar blobs: how many blobs are recorded.
    :ivar payloads: how many of them are here.
    :ivar size: the bytes of their payloads.
    :ivar statuses: the name of each status that occurs -> how many blobs have it.
    :ivar remarks: what was not carried over as it was, in words -> how many times.
    """

    path: str
    kept: str
    blobs: int
    payloads: int
    size: int
    statuses: Mapping[str, int]
    remarks: Mapping[str, int]


@dataclass
class Tally:
    """
    Counts for a :class:`SoledadReport`.

    :ivar external_namespaces: see :func:`inherit`.
    """

    external_namespaces: Collection[str] = ()
    payloads: int = 0
    size: int = 0
    statuses: Counter[SyncStatus] = field(default_factory=Counter)
    remarks: Counter[Remark] = field(default_factory=Counter)

    def count(self, old: OldBlob) -> NewBlob | None:
        """Decide what becomes of a blob, and count it."""
        new, remarks = inherit(old, self.external_namespaces)
        self.remarks.update(remarks)
        if new is not None:
            self.statuses[new.status] += 1
            if new.keeps_payload:
                self.payloads += 1
                self.size += old.size or 0
        return new

    def report(self, path: str, kept: str) -> SoledadReport:
        """Give the sums."""
        statuses = {status.name: self.statuses[status] for status in sorted(self.statuses)}
        remarks = {it.value: self.remarks[it] for it in Remark if it in self.remarks}
        blobs = sum(statuses.values())
        return SoledadReport(path, kept, blobs, self.payloads, self.size, statuses, remarks)
