"""One put: into the store, with all that its upload will need."""

from __future__ import annotations

import time
from ssl import RAND_bytes

from ..crypto import IV_SIZE, Preamble
from ..document import BlobDoc
from ..interfaces import IBlobStore
from ..model import BlobKey, Priority, SyncStatus
from .permits import Permits
from .queue import Entry


def new_preamble(key: BlobKey, size: int) -> bytes:
    """
    Make what a blob is sealed with: random, and of this moment.

    :param size: the bytes of the content.
    """
    # Not os.urandom: it lets other threads run, and may have to wait for them.
    return Preamble.for_blob(key.blob_id, size, RAND_bytes(IV_SIZE), time.time()).encode()


async def put(
    store: IBlobStore,
    permits: Permits,
    doc: BlobDoc,
    key: BlobKey,
    size: int,
    priority: Priority,
    local_only: bool,
) -> None:
    """
    Store a blob: LOCAL_ONLY, or PENDING_UPLOAD with the preamble that it will be sealed with.

    :param permits: which of those that wait is written next.
    :raise BlobError: as ``store.put`` does.
    """
    async with permits.hold(Entry(key, "put", priority, permits.new_age())):
        status, preamble = SyncStatus.LOCAL_ONLY, b""
        if not local_only:
            status, preamble = SyncStatus.PENDING_UPLOAD, new_preamble(key, size)
        await store.put(key.blob_id, doc.blob_fd, size, key.namespace, status, priority, preamble)
