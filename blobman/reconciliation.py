"""
What becomes of a blob here when the server tells of it: the table that every store goes by.

No I/O, no clock, no Twisted.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

from .errors import InvalidBlob, ReplacedMeanwhile, describe
from .model import FIRST_CURSOR, BlobKey, ChangesPage, Flags, RemoteChange, SyncStatus

__all__ = [
    "RECONCILIATION",
    "Action",
    "AppliedChanges",
    "EndedComparison",
    "Expected",
    "Feed",
    "FeedState",
    "Known",
    "Told",
    "Waiting",
    "check_replacement",
    "reconcile",
]


class Told(Enum):
    """
    What the server tells of a blob, held against the tag that is recorded here.

    Of a blob that is here, that is the tag of the copy; of one that is to be downloaded, or did not
    verify, the tag that was told before.
    """

    SAME = "there, with the same tag"
    OTHER = "there, with another tag"
    UNKNOWN = "there; no tag is recorded here"
    DELETED = "deleted"
    DELETED_BEFORE = "deleted; that was known, and the server has told of no other blob since"


class Action(Enum):
    """What is done about it. The value says it in words."""

    LEAVE = "nothing"
    NOTE = "the tag and the size are noted"
    FETCH = "it is ``PENDING_DOWNLOAD``, without failed attempts; the tag and the size are noted"
    REPLACE = "the new blob is fetched; the copy here stays readable until that has verified"
    COMPARE = "it is found out whether the server's blob is the one that is here"
    SETTLE = "it is ``SYNCED``"
    REMOVE = "the local copy goes away"
    FORGET = "the record goes away"
    COMPLETE = "the deletion is done: no trace is left"

    @property
    def notes(self) -> bool:
        """Whether the tag and the size that the server told are recorded."""
        return self in _NOTING

    @property
    def removes(self) -> bool:
        """Whether nothing is recorded of the blob any more."""
        return self in _REMOVING


_NOTING = frozenset({Action.NOTE, Action.FETCH, Action.REPLACE, Action.COMPARE, Action.SETTLE})
_REMOVING = frozenset({Action.REMOVE, Action.FORGET, Action.COMPLETE})


class Reconciliation(NamedTuple):
    """
    One row of the table.

    :ivar before: the status; None if nothing is recorded about the blob.
    """

    before: SyncStatus | None
    told: Told
    action: Action


_A = Action
_BY_STATUS: dict[SyncStatus | None, tuple[Action, Action, Action, Action, Action]] = {
    # The columns are those of Told: same, other, unknown, deleted, deleted before. The last one is
    # what a server says that was restored from a backup, and does not know of a later put.
    None: (_A.FETCH, _A.FETCH, _A.FETCH, _A.LEAVE, _A.LEAVE),
    SyncStatus.SYNCED: (_A.NOTE, _A.REPLACE, _A.COMPARE, _A.REMOVE, _A.LEAVE),
    SyncStatus.PENDING_UPLOAD: (_A.SETTLE, _A.NOTE, _A.COMPARE, _A.LEAVE, _A.LEAVE),
    SyncStatus.PENDING_DOWNLOAD: (_A.NOTE, _A.FETCH, _A.NOTE, _A.FORGET, _A.FORGET),
    SyncStatus.FAILED_UPLOAD: (_A.NOTE, _A.NOTE, _A.NOTE, _A.LEAVE, _A.LEAVE),
    SyncStatus.FAILED_DOWNLOAD: (_A.NOTE, _A.FETCH, _A.NOTE, _A.FORGET, _A.FORGET),
    SyncStatus.PENDING_DELETE: (_A.NOTE, _A.NOTE, _A.NOTE, _A.COMPLETE, _A.COMPLETE),
    SyncStatus.LOCAL_ONLY: (_A.NOTE, _A.NOTE, _A.NOTE, _A.LEAVE, _A.LEAVE),
}


def _rows() -> Iterator[Reconciliation]:
    for before, actions in _BY_STATUS.items():
        for told, action in zip(Told, actions, strict=True):
            # Nothing recorded means no tag, either, and nothing that a tombstone could take.
            if before is not None or told in (Told.UNKNOWN, Told.DELETED):
                yield Reconciliation(before, told, action)


RECONCILIATION: tuple[Reconciliation, ...] = tuple(_rows())
"""The whole table. A deletion is noted as a tombstone besides, whatever the status."""

_ACTIONS = {(row.before, row.told): row.action for row in RECONCILIATION}


class Known(NamedTuple):
    """
    What is recorded here of a blob, as far as the table asks for it.

    :ivar tag: of the copy here, sealed; None if it is not known, or there is no copy.
    :ivar told_tag: the one that the server told last; None if it has told none.
    :ivar has_tombstone: whether a tombstone of the id is known already.
    """

    status: SyncStatus
    tag: bytes | None = None
    told_tag: bytes | None = None
    has_tombstone: bool = False

    @property
    def compared_tag(self) -> bytes | None:
        """The tag that one the server tells is held against."""
        return self.told_tag if self.status in _NOT_HERE else self.tag


_NOT_HERE = (SyncStatus.PENDING_DOWNLOAD, SyncStatus.FAILED_DOWNLOAD)


def reconcile(known: Known | None, change: RemoteChange) -> Action:
    """
    Look up what is to be done about a change.

    :param known: None if nothing is recorded about the blob.
    """
    tag = None if known is None else known.compared_tag
    if change.is_deleted:
        is_before = known is not None and known.has_tombstone and known.told_tag is None
        told = Told.DELETED_BEFORE if is_before else Told.DELETED
    elif tag is None:
        told = Told.UNKNOWN
    else:
        told = Told.SAME if change.tag == tag else Told.OTHER
    return _ACTIONS[None if known is None else known.status, told]


class Expected(NamedTuple):
    """
    What a blob that arrives has to be, by what the server told of it last.

    :ivar former_tag: that of the blob that it told of before; None if it has told of no other.
    """

    tag: bytes
    sealed_size: int
    former_tag: bytes | None = None

    def check(self, key: BlobKey, tag: bytes | None, sealed_size: int) -> None:
        """
        See to it that what came is that.

        :param tag: None if it is not known: then it is not.
        :raise ReplacedMeanwhile: it is the blob that was there before.
        :raise InvalidBlob: it is another one.
        """
        name = describe(key.blob_id, key.namespace)
        if tag is not None and tag == self.former_tag != self.tag:
            raise ReplacedMeanwhile(f"{name} has been replaced by another one meanwhile")
        if tag != self.tag:
            raise InvalidBlob(f"{name} is not the one that the server told of: its tag is another")
        if sealed_size != self.sealed_size:
            raise InvalidBlob(
                f"{name} is not the one that the server told of: it has {sealed_size} sealed bytes "
                f"instead of {self.sealed_size}"
            )


def check_replacement(key: BlobKey, was_external: bool, is_external: bool) -> None:
    """
    See to it that what has no seal of the user's does not take the place of what has one.

    :param was_external: whether others sealed the copy that is here.
    :param is_external: whether others sealed what came.
    :raise InvalidBlob: it does.
    """
    if is_external and not was_external:
        name = describe(key.blob_id, key.namespace)
        raise InvalidBlob(f"{name} was sealed by the user, and what came in its place was not")


class FeedState(NamedTuple):
    """
    How far a store has followed the changes of a namespace.

    :ivar cursor: what to ask the server with.
    :ivar is_comparing: whether a full comparison is under way: everything is being read from
        ``FIRST_CURSOR`` on, and what has not come by its end is missing on the server.
    :ivar compared: when the last full comparison ended, in seconds since the epoch; None if none
        has.
    """

    cursor: str = FIRST_CURSOR
    is_comparing: bool = True
    compared: float | None = None

    def may_end_at(self, cursor: str) -> bool:
        """Whether a full comparison is under way that has come to this cursor."""
        return self.is_comparing and self.cursor == cursor != FIRST_CURSOR


class Waiting(NamedTuple):
    """
    What is out of step in a namespace.

    :ivar feed: how far the server's changes have been followed.
    :ivar statuses: those, other than LOCAL_ONLY and SYNCED, that any blob has; and SYNCED if a blob
        is another one on the server, as far as the tags tell.
    """

    feed: FeedState
    statuses: frozenset[SyncStatus]


class Feed(NamedTuple):
    """
    What a store records of the changes of a namespace. It changes as the methods say.

    :ivar number: that of the full comparison that was begun last.
    :ivar resume: the cursor to go on with when everything has been read from ``FIRST_CURSOR`` on;
        None if there is none. From there on deletions are told that were before that reading.
    """

    state: FeedState = FeedState()
    number: int = 1
    resume: str | None = None

    def begun(self, is_refused: bool) -> Feed:
        """
        Begin a full comparison.

        :param is_refused: whether the server has refused the cursor.
        """
        cursor = self.state.cursor
        resume = self.resume if cursor == FIRST_CURSOR else cursor
        state = self.state._replace(cursor=FIRST_CURSOR, is_comparing=True)
        return Feed(state, self.number + 1, None if is_refused else resume)

    def moved(self, page: ChangesPage) -> Feed:
        """Come to the cursor of a page."""
        is_read = self.state.is_comparing and not page.more
        if is_read and self.resume is not None:
            return Feed(self.state._replace(cursor=self.resume), self.number)
        return self._replace(state=self.state._replace(cursor=page.cursor))

    def ended(self, now: float) -> Feed:
        """End the full comparison, at a time in seconds since the epoch."""
        return self._replace(state=self.state._replace(is_comparing=False, compared=now))


class AppliedChanges(NamedTuple):
    """
    What applying a page has changed.

    :ivar is_current: False if the store had come to another cursor meanwhile. Then nothing was
        applied.
    :ivar fetch: the ids that are PENDING_DOWNLOAD now, and were not, or for another tag.
    :ivar outdated: the ids of what is SYNCED, and another blob on the server, or perhaps another:
        ``next_outdated`` lists them until they have been replaced.
    :ivar unsettled: the ids of what is PENDING_UPLOAD, and perhaps on the server already.
    :ivar deleted: the ids of local copies that went away, and were not to be deleted anyway.
    :ivar flags: (id, flags) of what is SYNCED, and has other flags than before.
    """

    is_current: bool
    fetch: list[str]
    outdated: list[str]
    unsettled: list[str]
    deleted: list[str]
    flags: list[tuple[str, tuple[Flags, ...]]]

    @classmethod
    def nothing(cls, is_current: bool) -> AppliedChanges:
        """Nothing has changed."""
        return cls(is_current, [], [], [], [], [])


class EndedComparison(NamedTuple):
    """
    What the end of a full comparison has changed.

    :ivar is_current: False if the store had come to another cursor meanwhile, or another comparison
        was begun. Then this one has not ended, but what is told has changed.
    :ivar deleted: the ids of local copies that went away.
    :ivar lost: how many blobs the server has lost: they were SYNCED, and are PENDING_UPLOAD now.
    """

    is_current: bool
    deleted: list[str]
    lost: int
