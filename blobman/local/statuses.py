"""The half of the store that deals with statuses: lists, changes, comparisons."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from functools import partial
from typing import TypeVar

import apsw
from twisted.internet.defer import Deferred, succeed

from ..interfaces import Ids, Paths, Queue, Sizes, Tags
from ..model import (
    BlobKey,
    Priority,
    QueuedTransfer,
    SyncStatus,
    check_key,
    check_namespace,
)
from . import batches, comparison, listings, records, strays
from .comparison import Swept
from .database import Database

__all__ = ["StatusStore"]

T = TypeVar("T")


class StatusStore:
    """
    What :class:`.BlobStore` knows of blobs, without their content.

    Its methods are those of :class:`~blobman.interfaces.IBlobStore`.

    :param database: where it is kept.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    # Lists

    def list(self, namespace: str = "") -> Deferred[Ids]:
        """See :meth:`blobman.interfaces.IBlobStore.list`."""
        return self._read_in(namespace, listings.list_available)

    def list_external(self, namespace: str = "") -> Deferred[Ids]:
        """See :meth:`blobman.interfaces.IBlobStore.list_external`."""
        return self._read_in(namespace, listings.list_external)

    def list_status(self, status: SyncStatus, namespace: str = "") -> Deferred[Ids]:
        """See :meth:`blobman.interfaces.IBlobStore.list_status`."""
        return self._read_in(namespace, partial(listings.list_status, status=status))

    def list_namespaces(self) -> Deferred[Ids]:
        """See :meth:`blobman.interfaces.IBlobStore.list_namespaces`."""
        return self._database.read(listings.list_namespaces)

    def list_found(self) -> Deferred[Paths]:
        """See :meth:`blobman.interfaces.IBlobStore.list_found`."""
        folder = strays.found_in(self._database.payloads.folder)
        return self._database.handle_files(
            lambda: sorted(str(folder / name) for name in strays.payload_names(folder))
        )

    def get_size_list(self, status: SyncStatus, namespace: str = "") -> Deferred[Sizes]:
        """See :meth:`blobman.interfaces.IBlobStore.get_size_list`."""
        return self._read_in(namespace, partial(listings.list_sizes, status=status))

    def next_transfers(
        self, status: SyncStatus, namespace: str, limit: int, after: QueuedTransfer | None = None
    ) -> Deferred[Queue]:
        """See :meth:`blobman.interfaces.IBlobStore.next_transfers`."""
        page = partial(listings.next_transfers, status=status, limit=limit, after=after)
        return self._read_in(namespace, page)

    def get_sync_progress(self, namespace: str | None = "") -> Deferred[dict[str, int]]:
        """See :meth:`blobman.interfaces.IBlobStore.get_sync_progress`."""
        if namespace is None:
            return self._database.read(listings.progress)
        return self._read_in(namespace, listings.progress)

    # One blob

    def get_sync_status(
        self, blob_id: str, namespace: str = ""
    ) -> Deferred[tuple[SyncStatus, int] | None]:
        """See :meth:`blobman.interfaces.IBlobStore.get_sync_status`."""
        return self._read_about(blob_id, namespace, listings.sync_status)

    def update_sync_status(
        self,
        blob_id: str,
        status: SyncStatus,
        namespace: str = "",
        priority: Priority | None = None,
    ) -> Deferred[None]:
        """See :meth:`blobman.interfaces.IBlobStore.update_sync_status`."""
        change = partial(records.change_status, status=status, priority=priority)
        return self._write_about(blob_id, namespace, change)

    def mark_uploaded(self, tags: Tags, namespace: str) -> Deferred[Ids]:
        """See :meth:`blobman.interfaces.IBlobStore.mark_uploaded`."""

        def work(connection: apsw.Connection) -> Ids:
            keys = {check_key(blob_id, namespace): tag for blob_id, tag in tags.items()}
            return batches.mark_uploaded(connection, keys)

        return self._database.write(work, uses_reserve=True)

    def get_priority(self, blob_id: str, namespace: str = "") -> Deferred[Priority | None]:
        """See :meth:`blobman.interfaces.IBlobStore.get_priority`."""
        return self._read_about(blob_id, namespace, listings.priority_of)

    def update_priority(
        self, blob_id: str, priority: Priority, namespace: str = ""
    ) -> Deferred[None]:
        """See :meth:`blobman.interfaces.IBlobStore.update_priority`."""
        change = partial(records.set_priority, priority=priority)
        return self._write_about(blob_id, namespace, change)

    def increment_retries(self, blob_id: str, namespace: str = "") -> Deferred[int]:
        """See :meth:`blobman.interfaces.IBlobStore.increment_retries`."""
        return self._write_about(blob_id, namespace, records.count_retry)

    def forget(self, blob_id: str, namespace: str = "") -> Deferred[None]:
        """See :meth:`blobman.interfaces.IBlobStore.forget`."""
        return self._write_about(blob_id, namespace, records.forget_missing)

    # What the server lists

    def apply_remote_list(
        self, listed: Set[str], namespace: str = "", deleted: Set[str] = frozenset()
    ) -> Deferred[Ids]:
        """
        See :meth:`blobman.interfaces.IBlobStore.apply_remote_list`.

        It is done in parts of some thousand blobs. Cancelling it leaves it half done, which
        the next one completes.
        """
        return Deferred.fromCoroutine(self._apply_remote_list(listed, namespace, deleted))

    async def _apply_remote_list(self, listed: Set[str], namespace: str, deleted: Set[str]) -> Ids:
        namespace = check_namespace(namespace)
        ids = await self._database.read(lambda _: sorted(listed))
        unsettled: Ids = []
        behind: str | None = ""
        while behind is not None:
            part = partial(
                comparison.apply_listed,
                listed=ids,
                deleted=deleted,
                namespace=namespace,
                behind=behind,
            )
            behind, found = await self._database.write(part)
            unsettled += found
        return unsettled

    def apply_tombstones(
        self, deleted: Set[str], listed: Set[str], namespace: str = ""
    ) -> Deferred[Ids]:
        """
        See :meth:`blobman.interfaces.IBlobStore.apply_tombstones`.

        It is done in parts, as :meth:`apply_remote_list` is.
        """
        return Deferred.fromCoroutine(self._apply_tombstones(deleted, listed, namespace))

    async def _apply_tombstones(self, deleted: Set[str], listed: Set[str], namespace: str) -> Ids:
        namespace = check_namespace(namespace)
        gone = await self._database.read(lambda _: comparison.parts(sorted(deleted - listed)))
        copies: Ids = []
        for part in gone:
            work = partial(comparison.apply_tombstones, deleted=part, namespace=namespace)
            swept = await self._database.write(work, self._remove_swept, uses_reserve=True)
            await self._remove_swept(swept)
            copies += swept.copies
        return copies

    def note_older_tombstone(self, blob_id: str, namespace: str = "") -> Deferred[None]:
        """See :meth:`blobman.interfaces.IBlobStore.note_older_tombstone`."""
        return self._write_about(blob_id, namespace, records.note_tombstone)

    def _remove_swept(self, swept: Swept | None) -> Deferred[None]:
        return self._remove_files([] if swept is None else swept.files)

    def _remove_files(self, files: Sequence[str]) -> Deferred[None]:
        return self._database.remove_files(files) if files else succeed(None)

    # Names are checked in the thread, so that wrong ones fail the Deferred too.

    def _read_in(self, namespace: str, work: Callable[[apsw.Connection, str], T]) -> Deferred[T]:
        return self._database.read(lambda connection: work(connection, check_namespace(namespace)))

    def _read_about(
        self, blob_id: str, namespace: str, work: Callable[[apsw.Connection, BlobKey], T]
    ) -> Deferred[T]:
        return self._database.read(
            lambda connection: work(connection, check_key(blob_id, namespace))
        )

    def _write_about(
        self,
        blob_id: str,
        namespace: str,
        work: Callable[[apsw.Connection, BlobKey], T],
        undo: Callable[[T | None], object] | None = None,
    ) -> Deferred[T]:
        return self._database.write(
            lambda connection: work(connection, check_key(blob_id, namespace)),
            undo,
            uses_reserve=True,
        )

    def close(self) -> Deferred[None]:
        """See :meth:`blobman.interfaces.IBlobStore.close`."""
        return self._database.close()
