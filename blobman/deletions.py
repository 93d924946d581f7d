"""One deletion: on the server, then here, without a trace."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from twisted.internet.defer import CancelledError

from .errors import BlobNotFoundError, IllegalStatusChange, describe
from .interfaces import IBlobStore, IRemote
from .model import BlobKey, SyncStatus


class Deleter:
    """Deletes what is PENDING_DELETE."""

    def __init__(
        self, store: IBlobStore, remote: IRemote, note_deleted: Callable[[BlobKey], None]
    ) -> None:
        """
        Nothing is under way.

        :param note_deleted: told of each blob that the server has no more, before it goes here.
        """
        self._store = store
        self._remote = remote
        self._note_deleted = note_deleted

    async def delete(self, key: BlobKey, before: SyncStatus | None) -> None:
        """
        Delete a blob. If that is cancelled, it is as it was.

        :param before: its status now; None if nothing is recorded.
        :raise BlobNotFoundError: neither had it.
        :raise BlobError: the server can't be reached; it is PENDING_DELETE now.
        """
        await self._store.update_sync_status(key.blob_id, SyncStatus.PENDING_DELETE, key.namespace)
        try:
            found = await self.complete(key)
        except CancelledError:
            await self._restore(key, before)
            raise
        if not found:
            raise BlobNotFoundError(f"delete {describe(key.blob_id, key.namespace)}: not found")

    async def complete(self, key: BlobKey) -> bool:
        """
        Delete a blob that is PENDING_DELETE, there and then here.

        :return: whether either had it.
        """
        there = True
        try:
            await self._remote.delete(key.blob_id, key.namespace)
        except BlobNotFoundError:
            there = False
        self._note_deleted(key)
        here = await self._store.delete(key.blob_id, key.namespace)
        return here or there

    async def _restore(self, key: BlobKey, before: SyncStatus | None) -> None:
        # If it was too late, the blob is gone, and stays so.
        with suppress(IllegalStatusChange):
            if before is None:
                await self._store.delete(key.blob_id, key.namespace)
            else:
                await self._store.update_sync_status(key.blob_id, before, key.namespace)
