"""What the server lists is compared with what is here, and what has to move is noted."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from twisted.internet.defer import DeferredLock

from .interfaces import IBlobStore, IRemote
from .model import Priority
from .transfers.own_changes import Changes, OwnChanges
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


class Comparer:
    """Compares namespaces, each by one comparison at a time."""

    def __init__(
        self, store: IBlobStore, remote: IRemote, requests: Requests, changes: Changes
    ) -> None:
        """
        Nothing is under way.

        :param changes: what this manager changes on the server.
        """
        self._store = store
        self._remote = remote
        self._requests = requests
        self._locks: dict[str, DeferredLock] = {}
        self._changes = changes

    async def compare(self, namespace: str) -> Differences:
        """
        Apply the server's tombstones, compare the lists, and note in the statuses what has to move.

        :raise BlobError: as asking the server, or the store, does.
        """
        lock = self._locks.setdefault(namespace, DeferredLock())
        await lock.acquire()
        try:
            with self._changes.watch(namespace) as own:
                return await self._compare(namespace, own)
        finally:
            lock.release()
            if not lock.locked and not lock.waiting:
                self._locks.pop(namespace, None)

    async def _compare(self, namespace: str, own: OwnChanges) -> Differences:
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
