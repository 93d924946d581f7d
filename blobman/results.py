"""What synchronizing comes to: what was moved, what is left, and why."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from .errors import BlobError
from .model import Flags, SyncStatus

__all__ = ["Account", "BlobChange", "LeftBlob", "SyncResult", "add_up", "with_result"]


class LeftBlob(NamedTuple):
    """
    A blob that is not in step.

    :ivar status: what is still to be done: PENDING_UPLOAD, PENDING_DOWNLOAD or PENDING_DELETE, for
        the next ``sync`` to do; or FAILED_UPLOAD or FAILED_DOWNLOAD, which it leaves alone. A blob
        that is SYNCED is to be replaced by another one of the same id.
    :ivar error: why, without the cause and the traceback; None if it failed earlier.
    """

    namespace: str
    blob_id: str
    status: SyncStatus
    error: BaseException | None


@dataclass(frozen=True)
class SyncResult:
    """
    What a synchronization has done.

    :ivar fetched: how many blobs have come here.
    :ivar sent: how many the server has taken.
    :ivar deleted: how many have been deleted here, as they were there, or there, as they were here.
    :ivar left: the blobs that are not in step.
    """

    fetched: int = 0
    sent: int = 0
    deleted: int = 0
    left: tuple[LeftBlob, ...] = ()


class BlobChange(NamedTuple):
    """
    What has become of a blob, through its server.

    :ivar kind: ``arrived``: it is here now, whole and verified; ``deleted``: it was deleted on the
        server, and has gone here; ``flags``: it is here, and has other flags.
    :ivar flags: those that it has on the server, as far as that has told; none if it was deleted.
    """

    namespace: str
    blob_id: str
    kind: Literal["arrived", "deleted", "flags"]
    flags: tuple[Flags, ...]


class Account:
    """
    What a synchronization of a namespace has done so far; see :class:`SyncResult`.

    :ivar namespace: which one.
    """

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.fetched = self.sent = self.deleted = 0
        self._left: dict[str, LeftBlob] = {}

    def note(self, status: SyncStatus, blob_id: str, error: BaseException | None) -> None:
        """
        Take note of the end of a transfer.

        :param status: that of what was to be transferred.
        :param error: why it failed; None if it did not.
        """
        if error is not None:
            # A copy has no traceback: there may be many, and each would keep its transfer alive.
            light = copy.copy(error) if isinstance(error, BlobError) else error
            self._left[blob_id] = LeftBlob(self.namespace, blob_id, status, light)
        elif status is SyncStatus.PENDING_UPLOAD:
            self.sent += 1
        elif status is SyncStatus.PENDING_DELETE:
            self.deleted += 1
        else:
            self.fetched += 1

    def note_left_alone(self, status: SyncStatus, blob_ids: Iterable[str]) -> None:
        """Take note of blobs that failed for good, now or earlier."""
        for blob_id in blob_ids:
            known = self._left.get(blob_id)
            error = None if known is None else known.error
            self._left[blob_id] = LeftBlob(self.namespace, blob_id, status, error)

    def close(self) -> SyncResult:
        """Make the result."""
        return SyncResult(self.fetched, self.sent, self.deleted, tuple(self._left.values()))


def add_up(results: Iterable[SyncResult]) -> SyncResult:
    """Make one result of those of several namespaces."""
    total = SyncResult()
    for it in results:
        total = SyncResult(
            total.fetched + it.fetched,
            total.sent + it.sent,
            total.deleted + it.deleted,
            total.left + it.left,
        )
    return total


def with_result(error: BlobError, result: SyncResult) -> BlobError:
    """
    Have an error tell what has been done all the same.

    :return: another one: somebody else may have been told of this one.
    """
    told = copy.copy(error).with_traceback(error.__traceback__)
    told.__cause__ = error.__cause__
    told.result = result
    return told
