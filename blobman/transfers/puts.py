"""One put: into the store, with all that its upload will need."""

from __future__ import annotations

import time
from ssl import RAND_bytes
from typing import TypeVar

from twisted.internet.defer import Deferred

from ..crypto import IV_SIZE, Preamble
from ..document import BlobDoc
from ..interfaces import IBlobStore
from ..model import BlobKey, Priority, SyncStatus
from .permits import Permits
from .queue import Entry

T = TypeVar("T")


def new_preamble(key: BlobKey, size: int) -> bytes:
    """
    Make what a blob is sealed with: random, and of this moment.

    :param size: the bytes of the content.
    """
    # Not os.urandom: it lets other threads run, and may have to wait for them.
    return Preamble.for_blob(key.blob_id, size, RAND_bytes(IV_SIZE), time.time()).encode()


class Writer:
    """Writes new blobs to a store, some at a time, the most urgent first."""

    def __init__(self, permits: Permits) -> None:
        """
        Nothing is under way.

        :param permits: those that all writes need.
        """
        self._permits = permits

    def write(
        self,
        store: IBlobStore,
        doc: BlobDoc,
        key: BlobKey,
        size: int,
        priority: Priority,
        local_only: bool,
    ) -> Deferred[None]:
        """
        Store a blob: LOCAL_ONLY, or PENDING_UPLOAD with the preamble that it will be sealed with.

        :return: fires with None, or fails, as ``store.put`` does.
        """

        def begin(_: object = None) -> Deferred[None]:
            status, preamble = SyncStatus.LOCAL_ONLY, b""
            if not local_only:
                status, preamble = SyncStatus.PENDING_UPLOAD, new_preamble(key, size)
            return store.put(
                key.blob_id, doc.blob_fd, size, key.namespace, status, priority, preamble
            ).addBoth(self._written)

        # No coroutine: of small blobs there are many, and the disk is fast.
        if self._permits.take():
            return begin()
        entry = Entry(key, "put", priority, self._permits.new_age())
        return self._permits.acquire(entry).addCallback(begin)

    def _written(self, result: T) -> T:
        self._permits.release()
        return result
