"""One put: into the store, with all that its upload will need, and on to its upload."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from ssl import RAND_bytes

from ..crypto import IV_SIZE, Preamble
from ..document import BlobDoc
from ..interfaces import IBlobStore
from ..model import BlobKey, Priority, SyncStatus
from .permits import Permits, Waiter

SENDING = 1024
"""
How many puts of one priority take part in uploads: they, and nothing more urgent, are ahead of the
others, which hold much less while they wait.
"""


def new_preamble(key: BlobKey, size: int) -> bytes:
    """
    Make what a blob is sealed with: random, and of this moment.

    :param size: the bytes of the content.
    """
    # Not os.urandom: it lets other threads run, and may have to wait for them.
    return Preamble.for_blob(key.blob_id, size, RAND_bytes(IV_SIZE), time.time()).encode()


class Putter:
    """Brings new blobs into a store, some at a time, the most urgent first; then has them sent."""

    def __init__(self, limit: Callable[[], int]) -> None:
        """
        Nothing is under way.

        :param limit: asked each time for how many are written at a time.
        """
        self._permits = Permits(limit)
        self._sending = {priority: Permits(lambda: SENDING) for priority in Priority}
        self._waiting: dict[BlobKey, Waiter] = {}

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
        if not self._permits.take():
            await self._permits.acquire(priority).granted
        status, preamble = SyncStatus.LOCAL_ONLY, b""
        try:
            if not local_only:
                status = SyncStatus.PENDING_UPLOAD
                preamble = new_preamble(key, size)
            await store.put(
                key.blob_id, doc.blob_fd, size, key.namespace, status, priority, preamble
            )
        finally:
            self._permits.release()

    async def send(
        self,
        key: BlobKey,
        priority: Priority,
        upload: Callable[[], Awaitable[None]],
    ) -> None:
        """
        Take part in the upload of a blob that has been put, in its turn.

        :param upload: takes part.
        :raise BaseException: as the upload does, or what :meth:`give_up` was told.
        """
        permits = self._sending[priority]
        if not permits.take():
            waiter = self._waiting[key] = permits.acquire(priority)
            try:
                await waiter.granted
            finally:
                del self._waiting[key]
        try:
            await upload()
        finally:
            permits.release()

    def limit_changed(self) -> None:
        """Ask for the limit at once."""
        self._permits.limit_changed()

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """Let no put go on inside the context; see :meth:`.Permits.held_back`."""
        with ExitStack() as stack:
            for permits in (self._permits, *self._sending.values()):
                stack.enter_context(permits.held_back())
            yield

    def give_up(self, key: BlobKey, reason: Exception) -> None:
        """Have a put that still waits for its upload fail."""
        waiter = self._waiting.get(key)
        if waiter is not None:
            waiter.granted.errback(reason)
