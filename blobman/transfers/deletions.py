"""One deletion: on the server, then here, without a trace."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial

from twisted.internet.defer import CancelledError

from ..errors import BlobNotFoundError, IllegalStatusChange, describe
from ..interfaces import IBlobStore, IRemote
from ..model import UNAVAILABLE_STATUSES, BlobKey, SyncStatus
from .requests import Requests


class Deleter:
    """Deletes what is PENDING_DELETE."""

    def __init__(
        self,
        store: IBlobStore,
        remote: IRemote,
        requests: Requests,
        note_deleted: Callable[[BlobKey], None],
    ) -> None:
        """
        Nothing is under way.

        :param note_deleted: told of each blob that the server has no more, before it goes here.
        """
        self._store = store
        self._remote = remote
        self._requests = requests
        self._note_deleted = note_deleted

    async def delete(self, key: BlobKey, before: SyncStatus | None, priority: int) -> None:
        """
        Delete a blob. If that is cancelled, it is as it was.

        :param before: its status now; None if nothing is recorded.
        :raise BlobNotFoundError: neither had it.
        :raise BlobError: the server can't be reached; it is PENDING_DELETE now.
        """
        await self._store.update_sync_status(key.blob_id, SyncStatus.PENDING_DELETE, key.namespace)
        try:
            found = await self._complete(key, priority)
        except CancelledError:
            await self._restore(key, before)
            raise
        # If it was here, it may have gone meanwhile: the server told of its deletion.
        if not found and before in (None, *UNAVAILABLE_STATUSES):
            raise BlobNotFoundError(f"delete {describe(key.blob_id, key.namespace)}: not found")

    async def resume(self, key: BlobKey, priority: int) -> bool:
        """
        Complete a deletion that was asked for earlier.

        The id may have been used again since, and the store may have been restored from a backup:
        the server loses only the blob of which there is a copy, or that it had told of.

        :return: whether the server has another one, which is PENDING_DOWNLOAD now.
        :raise BlobError: it is still PENDING_DELETE.
        """
        if not await self._is_another(key, priority):
            await self._complete(key, priority)
            return False
        await self._store.fetch_instead(key.blob_id, key.namespace)
        return True

    async def _is_another(self, key: BlobKey, priority: int) -> bool:
        payload = await self._store.open_payload(key.blob_id, key.namespace)
        try:
            if payload is None:
                return await self._has_other_tag(key, priority)
            compare = partial(self._remote.compare, key.blob_id, payload, key.namespace)
            return await self._requests.make(priority, compare) is None
        except BlobNotFoundError:
            return False

    async def _has_other_tag(self, key: BlobKey, priority: int) -> bool:
        meant = await self._store.tag_to_delete(key.blob_id, key.namespace)
        if meant is None:
            return False
        ask = partial(self._remote.get_tag, key.blob_id, key.namespace)
        return await self._requests.make(priority, ask) != meant

    async def _complete(self, key: BlobKey, priority: int) -> bool:
        """
        Delete a blob that is PENDING_DELETE, there and then here.

        :return: whether either had it.
        """
        there = True
        delete = partial(self._remote.delete, key.blob_id, key.namespace)
        try:
            await self._requests.make(priority, delete)
        except BlobNotFoundError:
            there = False
        self._note_deleted(key)
        here = await self._store.delete(key.blob_id, key.namespace)
        if there and not here:
            await self._store.note_older_tombstone(key.blob_id, key.namespace)
        return here or there

    async def _restore(self, key: BlobKey, before: SyncStatus | None) -> None:
        # If it was too late, the blob is gone, and stays so.
        with suppress(IllegalStatusChange):
            if before is None:
                await self._store.delete(key.blob_id, key.namespace)
            else:
                await self._store.update_sync_status(key.blob_id, before, key.namespace)
