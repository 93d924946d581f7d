"""What the server lists is compared with what is here, and what has to move is noted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import NamedTuple

from twisted.internet.defer import DeferredLock

from .interfaces import IBlobStore, IRemote
from .model import BlobKey, Priority
from .transfers.requests import Requests


class Differences(NamedTuple):
    """
    What a comparison has found.

    What it can't tell by ids alone is whether the server's bytes are those that are here.

    :ivar deleted: how many blobs went away here, as they were deleted on the server.
    :ivar unsettled: ids that the server lists, of blobs that wait to be uploaded.
    :ivar used_again: ids that the server lists, and of which it has a tombstone, too.
    """

    deleted: int
    unsettled: list[str]
    used_again: list[str]


class _OwnChanges:
    """What this manager changed on the server while lists of it were on their way here."""

    def __init__(self) -> None:
        self.uploaded: set[str] = set()
        self.deleted: set[str] = set()

    def applied_to(self, listed: set[str]) -> set[str]:
        """Give what the server would list now."""
        return (listed | self.uploaded) - self.deleted


class Comparer:
    """Compares namespaces, each by one comparison at a time."""

    def __init__(self, store: IBlobStore, remote: IRemote, requests: Requests) -> None:
        """Nothing is under way."""
        self._store = store
        self._remote = remote
        self._requests = requests
        self._locks: dict[str, DeferredLock] = {}
        self._own_changes: dict[str, list[_OwnChanges]] = {}

    async def compare(self, namespace: str) -> Differences:
        """
        Apply the server's tombstones, compare the lists, and note in the statuses what has to move.

        :raise BlobError: as asking the server, or the store, does.
        """
        lock = self._locks.setdefault(namespace, DeferredLock())
        await lock.acquire()
        try:
            async with self._watch_changes(namespace) as own:
                return await self._compare(namespace, own)
        finally:
            lock.release()
            if not lock.locked and not lock.waiting:
                self._locks.pop(namespace, None)

    async def _compare(self, namespace: str, own: _OwnChanges) -> Differences:
        # In this order: what another client deletes between the two answers is still listed
        # in the first, and so is not taken for lost on the server.
        listed = await self._list(namespace, deleted=False)
        tombstones = await self._list(namespace, deleted=True)
        present = own.applied_to(listed)
        went = await self._store.apply_tombstones(tombstones, present, namespace)
        present = own.applied_to(listed)
        unsettled = await self._store.apply_remote_list(present, namespace, tombstones)
        return Differences(went, unsettled, sorted(present & tombstones))

    async def _list(self, namespace: str, deleted: bool) -> set[str]:
        ask = partial(self._remote.list, namespace, deleted=deleted)
        return set(await self._requests.make(Priority.DEFAULT, ask))

    @asynccontextmanager
    async def _watch_changes(self, namespace: str) -> AsyncIterator[_OwnChanges]:
        changes = _OwnChanges()
        watchers = self._own_changes.setdefault(namespace, [])
        watchers.append(changes)
        try:
            yield changes
        finally:
            watchers.remove(changes)
            if not watchers:
                self._own_changes.pop(namespace, None)

    def note_uploaded(self, key: BlobKey) -> None:
        """Take note that the server has taken a blob just now."""
        for changes in self._own_changes.get(key.namespace, ()):
            changes.uploaded.add(key.blob_id)
            changes.deleted.discard(key.blob_id)

    def note_deleted(self, key: BlobKey) -> None:
        """Take note that the server has a blob no more, by our doing."""
        for changes in self._own_changes.get(key.namespace, ()):
            changes.deleted.add(key.blob_id)
            changes.uploaded.discard(key.blob_id)
