"""The part of the store that follows the server's changes."""

from __future__ import annotations

from collections.abc import Sequence, Set
from functools import partial
from typing import Any

import apsw
from twisted.internet.defer import Deferred

from ..interfaces import Ids, Queue
from ..model import ChangesPage, Flags, QueuedTransfer, check_namespace
from ..reconciliation import AppliedChanges, EndedComparison, FeedState, Waiting
from . import applying, comparison, feed, listings, records, unseen
from .applying import Applied
from .statuses import StatusStore

__all__ = ["FollowingStore"]


class FollowingStore(StatusStore):
    """
    What :class:`.BlobStore` does with changes.

    Its methods are those of :class:`~blobman.interfaces.IBlobStore`.
    """

    def get_feed(self, namespace: str = "") -> Deferred[FeedState]:
        """See :meth:`blobman.interfaces.IBlobStore.get_feed`."""
        return self._read_in(namespace, lambda *where: feed.find_feed(*where).state)

    def apply_changes(
        self, page: ChangesPage, since: str, namespace: str = ""
    ) -> Deferred[AppliedChanges]:
        """
        See :meth:`blobman.interfaces.IBlobStore.apply_changes`.

        Cancelling it takes it back, unless it is being committed.
        """
        return Deferred.fromCoroutine(self._apply_changes(page, since, namespace))

    async def _apply_changes(self, page: ChangesPage, since: str, namespace: str) -> AppliedChanges:
        def work(connection: apsw.Connection) -> Applied:
            return applying.apply_page(connection, check_namespace(namespace), page, since)

        def remove_files(applied: Applied | None) -> Deferred[None]:
            return self._remove_files([] if applied is None else applied.files)

        applied = await self._database.write(work, remove_files)
        await remove_files(applied)
        return applied.changes

    def begin_comparison(self, namespace: str = "", is_refused: bool = True) -> Deferred[None]:
        """See :meth:`blobman.interfaces.IBlobStore.begin_comparison`."""

        def work(connection: apsw.Connection) -> None:
            feed.begin_comparison(connection, check_namespace(namespace), is_refused)

        return self._database.write(work, uses_reserve=True)

    def has_unseen(self, namespace: str = "") -> Deferred[bool]:
        """See :meth:`blobman.interfaces.IBlobStore.has_unseen`."""
        return self._read_in(namespace, unseen.has_unseen)

    def end_comparison(
        self, since: str, deleted: Set[str], now: float, namespace: str = ""
    ) -> Deferred[EndedComparison]:
        """
        See :meth:`blobman.interfaces.IBlobStore.end_comparison`.

        It is done in parts of some thousand blobs. Cancelling it leaves it half done, which
        the next call completes.
        """
        return Deferred.fromCoroutine(self._end_comparison(since, deleted, now, namespace))

    async def _end_comparison(
        self, since: str, deleted: Set[str], now: float, namespace: str
    ) -> EndedComparison:
        namespace = check_namespace(namespace)
        tombstones = await self._database.read(lambda _: sorted(deleted))
        begun = await self._database.read(partial(feed.find_feed, namespace=namespace))
        is_current = begun.state.may_end_at(since)
        ended = EndedComparison(is_current, [], 0)
        behind: str | None = "" if is_current else None
        while behind is not None:
            part = partial(
                unseen.settle_part,
                namespace=namespace,
                begun=begun,
                tombstones=tombstones,
                now=now,
                behind=behind,
            )
            settled = await self._database.write(part, self._remove_settled)
            if settled is None:
                return ended._replace(is_current=False)
            await self._remove_settled(settled)
            ended.deleted.extend(settled.swept.copies)
            ended = ended._replace(lost=ended.lost + settled.lost)
            behind = settled.behind
        return ended

    def _remove_settled(self, settled: unseen.Settled | None) -> Deferred[None]:
        return self._remove_files([] if settled is None else settled.swept.files)

    def list_untold(self, namespace: str = "") -> Deferred[Ids]:
        """See :meth:`blobman.interfaces.IBlobStore.list_untold`."""
        return self._read_in(namespace, feed.list_untold)

    def send_again(self, ids: Sequence[str], namespace: str = "") -> Deferred[int]:
        """
        See :meth:`blobman.interfaces.IBlobStore.send_again`.

        It is done in parts, as :meth:`apply_remote_list` is.
        """
        return Deferred.fromCoroutine(self._send_again(ids, namespace))

    async def _send_again(self, ids: Sequence[str], namespace: str) -> int:
        number = 0
        for part in comparison.parts(ids):
            work = partial(feed.send_again, namespace=check_namespace(namespace), ids=part)
            number += await self._database.write(work, uses_reserve=True)
        return number

    def next_outdated(
        self, namespace: str, limit: int, after: QueuedTransfer | None = None
    ) -> Deferred[Queue]:
        """See :meth:`blobman.interfaces.IBlobStore.next_outdated`."""
        page = partial(listings.next_outdated, limit=limit, after=after)
        return self._read_in(namespace, page)

    def find_waiting(self, namespace: str = "") -> Deferred[Waiting]:
        """See :meth:`blobman.interfaces.IBlobStore.find_waiting`."""

        def work(*where: Any) -> Waiting:
            return Waiting(feed.find_feed(*where).state, listings.find_waiting(*where))

        return self._read_in(namespace, work)

    def record_tag(self, blob_id: str, tag: bytes, namespace: str = "") -> Deferred[None]:
        """See :meth:`blobman.interfaces.IBlobStore.record_tag`."""
        return self._write_about(blob_id, namespace, partial(records.record_tag, tag=tag))

    def tag_to_delete(self, blob_id: str, namespace: str = "") -> Deferred[bytes | None]:
        """See :meth:`blobman.interfaces.IBlobStore.tag_to_delete`."""
        return self._read_about(blob_id, namespace, listings.tag_to_delete)

    def get_flags(self, blob_id: str, namespace: str = "") -> Deferred[tuple[Flags, ...]]:
        """See :meth:`blobman.interfaces.IBlobStore.get_flags`."""
        return self._read_about(blob_id, namespace, listings.flags_of)

    def retry_refused(self, namespace: str = "") -> Deferred[int]:
        """See :meth:`blobman.interfaces.IBlobStore.retry_refused`."""
        return self._database.write(
            lambda connection: feed.retry_refused(connection, check_namespace(namespace)),
            uses_reserve=True,
        )
