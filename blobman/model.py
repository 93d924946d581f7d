"""
The words that every part shares: flags, priorities, statuses, names and their rules.

No I/O, no clock, no Twisted.
"""

from __future__ import annotations

import re
from enum import Enum, EnumMeta, IntEnum
from typing import NamedTuple

__all__ = [
    "DEFAULT_NAMESPACE",
    "FIRST_CURSOR",
    "MAX_NAME_LENGTH",
    "STATUS_CHANGES",
    "UNAVAILABLE_STATUSES",
    "BlobKey",
    "ChangesPage",
    "Flags",
    "Priority",
    "QueuedTransfer",
    "RemoteChange",
    "StatusChange",
    "SyncStatus",
    "TransferProgress",
    "check_key",
    "check_name",
    "check_namespace",
    "check_size",
    "is_legal_change",
    "is_name",
]

MAX_NAME_LENGTH = 254
"""The longest id, user or namespace, in characters: what fits a preamble's Pascal string."""

DEFAULT_NAMESPACE = "default"
"""What the server calls the default namespace, which is ``''`` here."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,254}", re.ASCII)


class _SetOfNames(EnumMeta):
    """Knows names as members: before Python 3.12, ``in`` raises ``TypeError`` for a ``str``."""

    def __contains__(cls, item: object) -> bool:
        return isinstance(item, str) and item in cls.__members__


class Flags(str, Enum, metaclass=_SetOfNames):
    """
    What a server-side blob can be marked with.

    Each equals its own name as a ``str``, and the class is a set of names: ``"PENDING" in Flags``.
    """

    PENDING = "PENDING"
    PROCESSING = "PROCESSING"
    PROCESSED = "PROCESSED"
    FAILED = "FAILED"

    def __str__(self) -> str:
        return self.value


class Priority(IntEnum):
    """How urgent a transfer is; the larger goes first."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3
    URGENT = 4
    DEFAULT = MEDIUM

    @classmethod
    def parse(cls, value: Priority | int | str) -> Priority:
        """
        Take a priority as an application writes it: a member, a number or a name.

        :raise ValueError: there is no such priority.
        :raise TypeError: it is of another type.
        """
        if isinstance(value, cls):
            return value
        if isinstance(value, str):
            try:
                return cls[value.upper()]
            except KeyError:
                pass
        elif isinstance(value, int) and not isinstance(value, bool):
            try:
                return cls(value)
            except ValueError:
                pass
        else:
            raise TypeError(f"priority must be a number or a name, not {type(value).__name__}")
        raise ValueError(
            f"priority must be one of low, medium, high, urgent (1 to 4), not {value!r}"
        )


class _WithUnavailable(EnumMeta):
    @property
    def UNAVAILABLE_STATUSES(cls) -> tuple[SyncStatus, ...]:
        """The statuses of blobs that are known but not in the local store."""
        return UNAVAILABLE_STATUSES


class SyncStatus(IntEnum, metaclass=_WithUnavailable):
    """
    Where a blob stands between the local store and the server.

    ``SyncStatus.UNAVAILABLE_STATUSES`` are those of blobs that are known but not here.
    """

    SYNCED = 1
    PENDING_UPLOAD = 2
    PENDING_DOWNLOAD = 3
    FAILED_UPLOAD = 4
    FAILED_DOWNLOAD = 5
    PENDING_DELETE = 6
    LOCAL_ONLY = 7


UNAVAILABLE_STATUSES = (SyncStatus.PENDING_DOWNLOAD, SyncStatus.FAILED_DOWNLOAD)
"""The statuses of blobs that are known but not in the local store."""


class StatusChange(NamedTuple):
    """
    One row of the table of legal changes.

    :ivar operation: what makes the change.
    :ivar before: the status it starts from; None if nothing is recorded about the blob.
    :ivar after: the status it leads to; None if the record goes away.
    """

    operation: str
    before: SyncStatus | None
    after: SyncStatus | None


_S = SyncStatus
STATUS_CHANGES: tuple[StatusChange, ...] = (
    StatusChange("put", None, _S.PENDING_UPLOAD),
    StatusChange("put, local only", None, _S.LOCAL_ONLY),
    StatusChange("upload done, or the server has these bytes", _S.PENDING_UPLOAD, _S.SYNCED),
    StatusChange("upload refused: conflict or quota", _S.PENDING_UPLOAD, _S.FAILED_UPLOAD),
    StatusChange("upload to be tried again", _S.FAILED_UPLOAD, _S.PENDING_UPLOAD),
    StatusChange("the server lost it", _S.SYNCED, _S.PENDING_UPLOAD),
    StatusChange("get, or the server lists it", None, _S.PENDING_DOWNLOAD),
    StatusChange("get after a failure", _S.FAILED_DOWNLOAD, _S.PENDING_DOWNLOAD),
    StatusChange("download done", _S.PENDING_DOWNLOAD, _S.SYNCED),
    StatusChange("download does not verify", _S.PENDING_DOWNLOAD, _S.FAILED_DOWNLOAD),
    StatusChange("the server does not have it", _S.PENDING_DOWNLOAD, None),
    StatusChange("the server does not have it", _S.FAILED_DOWNLOAD, None),
    StatusChange("tombstone", _S.SYNCED, None),
    *(
        StatusChange("delete", status, _S.PENDING_DELETE)
        for status in (None, *_S)
        if status not in (_S.PENDING_DELETE, _S.LOCAL_ONLY)
    ),
    StatusChange("delete, local only", _S.LOCAL_ONLY, None),
    StatusChange("delete, and the server has another blob", _S.LOCAL_ONLY, _S.PENDING_DOWNLOAD),
    StatusChange("delete done", _S.PENDING_DELETE, None),
    *(
        StatusChange("delete cancelled", _S.PENDING_DELETE, status)
        for status in _S
        if status not in (_S.PENDING_DELETE, _S.LOCAL_ONLY)
    ),
)
"""Every legal change of status. The store refuses all others."""

_LEGAL = frozenset((change.before, change.after) for change in STATUS_CHANGES)


def is_legal_change(before: SyncStatus | None, after: SyncStatus | None) -> bool:
    """Whether the table allows it; staying as it is always is allowed."""
    return before == after or (before, after) in _LEGAL


class BlobKey(NamedTuple):
    """What identifies a blob: the same id in two namespaces is two blobs."""

    namespace: str
    blob_id: str


class QueuedTransfer(NamedTuple):
    """
    A blob that waits for its transfer.

    :ivar age: a number that grows with the time when the store first knew of the blob.
    """

    blob_id: str
    priority: int
    age: int

    @property
    def place(self) -> tuple[int, int]:
        """What sorts the most urgent first, and the oldest among equals."""
        return (-self.priority, self.age)


class RemoteChange(NamedTuple):
    """
    The latest change of a blob on the server.

    :ivar tag: the blob's 16 bytes of tag; None if it was deleted.
    :ivar size: sealed bytes; 0 if it was deleted.
    :ivar date: when it was put, in whole seconds since the epoch; 0 if it was deleted.
    :ivar flags: in the order in which they were given; none if it was deleted.
    """

    blob_id: str
    tag: bytes | None = None
    size: int = 0
    date: int = 0
    flags: tuple[Flags, ...] = ()

    @property
    def is_deleted(self) -> bool:
        """Whether the blob was deleted, and has not been put again."""
        return self.tag is None


class ChangesPage(NamedTuple):
    """
    Some changes of a namespace, in the order in which they were made.

    :ivar changes: of each id the latest; no id twice.
    :ivar cursor: what to ask with for those that come after.
    :ivar more: whether there are such already.
    """

    changes: list[RemoteChange]
    cursor: str
    more: bool


FIRST_CURSOR = "start"
"""The cursor from which on all blobs come that are there, and no deletions that were before."""


class TransferProgress(NamedTuple):
    """
    How a transfer stands.

    :ivar direction: ``upload`` or ``download``.
    :ivar done: sealed bytes that have travelled.
    :ivar total: sealed bytes in all; 0 while that is not known.
    :ivar state: ``running``, then ``done``, ``failed`` or ``cancelled``; one that failed may be
        tried again.
    """

    blob_id: str
    namespace: str
    direction: str
    done: int
    total: int
    state: str


def is_name(value: str) -> bool:
    """Whether a string can be an id, a user or a namespace: 1 to 254 of ``[A-Za-z0-9_-]``."""
    return _NAME.fullmatch(value) is not None


def check_name(argument: str, value: object) -> str:
    """
    Check an id, a user or a namespace.

    :param argument: the argument's name, for the message.
    :return: the value, if it is good.
    :raise TypeError: it is not a ``str``.
    :raise ValueError: it is empty, too long, or has another character.
    """
    if not isinstance(value, str):
        raise TypeError(f"{argument} must be a str, not {type(value).__name__}")
    if not is_name(value):
        shown = value if len(value) <= 60 else value[:60] + "..."
        raise ValueError(
            f"{argument} must be 1 to {MAX_NAME_LENGTH} characters out of A-Z a-z 0-9 _ -, "
            f"not {shown!r} ({len(value)} characters)"
        )
    return value


def check_namespace(value: object) -> str:
    """
    Check a namespace; the default one is ``''``.

    :raise TypeError: it is not a ``str``.
    :raise ValueError: it is not a name, or the one that the server has for the default one: a
        namespace has one name here, or else it would be two.
    """
    if isinstance(value, str) and value == "":
        return ""
    if value == DEFAULT_NAMESPACE:
        raise ValueError(
            f"namespace must not be {DEFAULT_NAMESPACE!r}, which is what the server calls the "
            "default namespace: its name here is ''"
        )
    return check_name("namespace", value)


def check_key(blob_id: object, namespace: object) -> BlobKey:
    """
    Check the names of a blob.

    :raise TypeError: one of them is not a ``str``.
    :raise ValueError: one of them is not a name.
    """
    return BlobKey(check_namespace(namespace), check_name("blob_id", blob_id))


def check_size(value: object) -> int:
    """
    Check a size in bytes.

    :raise TypeError: it is not an ``int``.
    :raise ValueError: it is negative.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"size must be a number of bytes, not {type(value).__name__}")
    if value < 0:
        raise ValueError(f"size must not be negative, as {value} is")
    return value
