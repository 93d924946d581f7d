"""One put: into the store, with all that its upload will need."""

from __future__ import annotations

import time
from collections.abc import Callable
from ssl import RAND_bytes

from twisted.internet.defer import Deferred

from .crypto import IV_SIZE, Preamble
from .document import BlobDoc
from .interfaces import IBlobStore
from .model import BlobKey, Priority, SyncStatus
from .transfers import Permits


class Putter:
    """Brings new blobs into a store, some at a time, the most urgent first."""

    def __init__(self, limit: Callable[[], int]) -> None:
        """
        Nothing is under way.

        :param limit: asked each time for how many are written at a time.
        """
        self._permits = Permits(limit)

    async def put(
        self,
        store: IBlobStore,
        doc: BlobDoc,
        key: BlobKey,
        size: int,
        priority: Priority,
        local_only: bool,
    ) -> None:
        """
        Store a blob: LOCAL_ONLY, or PENDING_UPLOAD with the preamble that it will be sealed with.

        :raise BlobError: as ``store.put`` does.
        """
        await self._permits.acquire(priority).granted
        try:
            await _put(store, doc, key, size, priority, local_only)
        finally:
            self._permits.release()


def _put(
    store: IBlobStore,
    doc: BlobDoc,
    key: BlobKey,
    size: int,
    priority: Priority,
    local_only: bool,
) -> Deferred[None]:
    status, preamble = SyncStatus.LOCAL_ONLY, b""
    if not local_only:
        status = SyncStatus.PENDING_UPLOAD
        # Not os.urandom: it lets other threads run meanwhile, and may have to wait for them.
        iv = RAND_bytes(IV_SIZE)
        preamble = Preamble.for_blob(key.blob_id, size, iv, time.time()).encode()
    return store.put(key.blob_id, doc.blob_fd, size, key.namespace, status, priority, preamble)
