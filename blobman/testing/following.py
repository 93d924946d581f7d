"""The part of the store in memory that follows the server's changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set

from twisted.internet.defer import Deferred

from ..interfaces import Ids, Queue
from ..model import (
    BlobKey,
    ChangesPage,
    Flags,
    QueuedTransfer,
    RemoteChange,
    SyncStatus,
    check_key,
    check_namespace,
)
from ..reconciliation import (
    Action,
    AppliedChanges,
    EndedComparison,
    Feed,
    FeedState,
    Known,
    Waiting,
    reconcile,
)
from .statuses import MemoryStatusStore, Record

__all__ = ["MemoryFollowingStore"]

_S = SyncStatus


class MemoryFollowingStore(MemoryStatusStore):
    """What :class:`.MemoryStore` does with changes."""

    def get_feed(self, namespace: str = "") -> Deferred[FeedState]:
        """See :meth:`blobman.interfaces.IBlobStore.get_feed`."""
        return self._do(lambda: self._feed(namespace).state)

    def _feed(self, namespace: str) -> Feed:
        return self._feeds.get(check_namespace(namespace), Feed())

    def apply_changes(
        self, page: ChangesPage, since: str, namespace: str = ""
    ) -> Deferred[AppliedChanges]:
        """See :meth:`blobman.interfaces.IBlobStore.apply_changes`."""

        def work() -> AppliedChanges:
            feed = self._feed(namespace)
            applied = AppliedChanges.nothing(is_current=feed.state.cursor == since)
            if applied.is_current:
                self._feeds[namespace] = feed.moved(page)
                for change in page.changes:
                    self._apply(check_key(change.blob_id, namespace), change, applied, feed)
            return applied

        return self._do(work)

    def _apply(
        self, key: BlobKey, change: RemoteChange, applied: AppliedChanges, feed: Feed
    ) -> None:
        record = self._records.get(key)
        known = None
        if record is not None:
            has_tombstone = key in self._tombstones
            known = Known(record.status, record.tag, record.told_tag, has_tombstone)
        action = reconcile(known, change)
        if change.is_deleted:
            self._tombstones.add(key)
            self._see_deleted(key, action, applied)
            return
        if record is None:
            record = self._add(key, _S.PENDING_DOWNLOAD)
        record.seen = feed.number
        if action.notes:
            if record.status is _S.SYNCED and record.flags != change.flags:
                applied.flags.append((key.blob_id, change.flags))
            if record.told_tag != change.tag:
                record.former_tag, record.told_tag = record.told_tag, change.tag
            record.told_size, record.flags = change.size, change.flags
            record.untold = False
        self._change(key.blob_id, record, action, applied, feed.state.is_comparing)

    def _see_deleted(self, key: BlobKey, action: Action, applied: AppliedChanges) -> None:
        if action is Action.REMOVE:
            applied.deleted.append(key.blob_id)
        if action.removes:
            del self._records[key]
        elif key in self._records:
            record = self._records[key]
            record.told_tag = record.told_size = None
            record.untold = record.status is _S.PENDING_UPLOAD

    def _change(
        self,
        blob_id: str,
        record: Record,
        action: Action,
        applied: AppliedChanges,
        is_comparing: bool,
    ) -> None:
        if action is Action.FETCH:
            record.status, record.retries = _S.PENDING_DOWNLOAD, 0
            applied.fetch.append(blob_id)
        elif action is Action.SETTLE:
            record.status, record.retries = _S.SYNCED, 0
        elif action is Action.COMPARE and record.status is _S.PENDING_UPLOAD:
            applied.unsettled.append(blob_id)
        elif action is Action.REPLACE or (action is Action.COMPARE and not is_comparing):
            applied.outdated.append(blob_id)

    # Full comparisons

    def begin_comparison(self, namespace: str = "", is_refused: bool = True) -> Deferred[None]:
        """See :meth:`blobman.interfaces.IBlobStore.begin_comparison`."""

        def work() -> None:
            self._feeds[namespace] = self._feed(namespace).begun(is_refused)

        return self._do(work)

    def has_unseen(self, namespace: str = "") -> Deferred[bool]:
        """See :meth:`blobman.interfaces.IBlobStore.has_unseen`."""

        def work() -> bool:
            number = self._feed(namespace).number
            return any(
                record.status is _S.SYNCED and (record.seen < number or record.is_unconfirmed)
                for _, record in self._in(namespace)
            )

        return self._do(work)

    def end_comparison(
        self, since: str, deleted: Set[str], now: float, namespace: str = ""
    ) -> Deferred[EndedComparison]:
        """See :meth:`blobman.interfaces.IBlobStore.end_comparison`."""

        def work() -> EndedComparison:
            feed = self._feed(namespace)
            if not feed.state.may_end_at(since):
                return EndedComparison(False, [], 0)
            self._feeds[namespace] = feed.ended(now)
            here = list(self._in(namespace))
            seen = {key.blob_id for key, record in here if record.seen >= feed.number}
            for key, record in here:
                if record.is_unconfirmed and key.blob_id in seen - deleted:
                    record.tag = record.told_tag
            return self._settle_unseen(namespace, seen, deleted)

        return self._do(work)

    def _settle_unseen(self, namespace: str, seen: Set[str], deleted: Set[str]) -> EndedComparison:
        gone = {check_key(blob_id, namespace) for blob_id in deleted - seen}
        copies = self._bury(namespace, gone)
        missing = [item for item in self._in(namespace) if item[0].blob_id not in seen]
        lost = sum(self._settle_missing(*item, deleted) for item in missing)
        return EndedComparison(True, copies, lost)

    # What is to be replaced, or sent again

    def list_untold(self, namespace: str = "") -> Deferred[Ids]:
        """See :meth:`blobman.interfaces.IBlobStore.list_untold`."""
        return self._do(lambda: sorted(key.blob_id for key, _ in self._untold(namespace)))

    def _untold(self, namespace: str) -> Iterator[tuple[BlobKey, Record]]:
        for key, record in self._in(namespace):
            if record.untold and record.status is _S.SYNCED:
                yield key, record

    def send_again(self, ids: Sequence[str], namespace: str = "") -> Deferred[int]:
        """See :meth:`blobman.interfaces.IBlobStore.send_again`."""

        def work() -> int:
            lost = [record for key, record in self._untold(namespace) if key.blob_id in ids]
            for record in lost:
                record.status = _S.PENDING_UPLOAD
            return len(lost)

        return self._do(work)

    def next_outdated(
        self, namespace: str, limit: int, after: QueuedTransfer | None = None
    ) -> Deferred[Queue]:
        """See :meth:`blobman.interfaces.IBlobStore.next_outdated`."""

        def work() -> Queue:
            outdated = self._outdated(namespace)
            return [it for it in outdated if after is None or it.place > after.place][:limit]

        return self._do(work)

    def _outdated(self, namespace: str) -> Iterator[QueuedTransfer]:
        for key, record in self._waiting(namespace, _S.SYNCED):
            if record.told_tag is not None and record.told_tag != record.tag:
                yield QueuedTransfer(key.blob_id, record.priority, record.age)

    def find_waiting(self, namespace: str = "") -> Deferred[Waiting]:
        """See :meth:`blobman.interfaces.IBlobStore.find_waiting`."""

        def work() -> Waiting:
            feed = self._feed(namespace).state
            found = {record.status for _, record in self._in(namespace)}
            found -= {_S.SYNCED, _S.LOCAL_ONLY}
            found |= {_S.SYNCED} if any(self._outdated(namespace)) else set()
            return Waiting(feed, frozenset(found))

        return self._do(work)

    def record_tag(self, blob_id: str, tag: bytes, namespace: str = "") -> Deferred[None]:
        """See :meth:`blobman.interfaces.IBlobStore.record_tag`."""

        def work(key: BlobKey) -> None:
            record = self._records.get(key)
            if record is not None and record.status is _S.SYNCED:
                record.tag = record.tag or tag

        return self._about(blob_id, namespace, work)

    def tag_to_delete(self, blob_id: str, namespace: str = "") -> Deferred[bytes | None]:
        """See :meth:`blobman.interfaces.IBlobStore.tag_to_delete`."""

        def work(key: BlobKey) -> bytes | None:
            record = self._records.get(key)
            if record is None or record.status is not _S.PENDING_DELETE:
                return None
            return record.former_tag if record.content is None else record.tag

        return self._about(blob_id, namespace, work)

    def get_flags(self, blob_id: str, namespace: str = "") -> Deferred[tuple[Flags, ...]]:
        """See :meth:`blobman.interfaces.IBlobStore.get_flags`."""
        return self._about(
            blob_id,
            namespace,
            lambda key: self._records[key].flags if key in self._records else (),
        )

    def retry_refused(self, namespace: str = "") -> Deferred[int]:
        """See :meth:`blobman.interfaces.IBlobStore.retry_refused`."""

        def work() -> int:
            refused = [
                record
                for _, record in self._in(namespace)
                if record.status is _S.FAILED_UPLOAD and record.told_tag is None
            ]
            for record in refused:
                record.status = _S.PENDING_UPLOAD
            return len(refused)

        return self._do(work)
