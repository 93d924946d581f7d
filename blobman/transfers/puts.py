"""One put: into the store, with all that its upload will need, and on to that."""

from __future__ import annotations

import time
from collections.abc import Callable
from ssl import RAND_bytes
from typing import TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from ..crypto import IV_SIZE, Preamble
from ..document import BlobDoc
from ..interfaces import IBlobStore
from ..model import BlobKey, Priority, SyncStatus
from .permits import Permits
from .queue import Entry

T = TypeVar("T")


NewPreamble = Callable[[BlobKey, int], bytes]
"""Makes a raw preamble for a blob and its size in bytes. Never the same twice."""


def new_preamble(bind: Callable[[str], bytes] | None, key: BlobKey, size: int) -> bytes:
    """
    Make what a blob is sealed with: random, and of this moment.

    :param bind: says what the seal of a blob says of where it belongs, given the namespace; None
        if it says nothing.
    :param size: the bytes of the content.
    """
    binding = None if bind is None else bind(key.namespace)
    # Not os.urandom: it lets other threads run, and may have to wait for them.
    iv = RAND_bytes(IV_SIZE)
    return Preamble.for_blob(key.blob_id, size, iv, time.time(), binding).encode()


class _Put(Entry):
    """
    One put, which waits for its turn to be written, is written, and is then sent.

    Its Deferred is the one that the application gets: there are many puts, so each is light.

    :ivar ended: fires when it is over; None if it is.
    """

    __slots__ = ("_is_cancelled", "_stop", "doc", "ended", "is_sent", "size")

    key: BlobKey

    def __init__(
        self, doc: BlobDoc, key: BlobKey, size: int, priority: int, age: int, is_sent: bool
    ) -> None:
        super().__init__(key, "put", priority, age)
        self.doc = doc
        self.size = size
        self.is_sent = is_sent
        self.ended: Deferred[None] | None = Deferred(self._cancel)
        self._stop: Callable[[], object] | None = None
        self._is_cancelled = False

    def wait_for(self, step: Deferred[None], then: Callable[[None], object]) -> None:
        """Go on after a step; end if it fails."""
        self._stop = step.cancel
        step.addCallback(then).addErrback(self.end)

    @property
    def goes_on(self) -> bool:
        """Whether anybody waits for it."""
        return not self._is_cancelled

    def end(self, failure: Failure | None = None) -> None:
        """It is over: say so, once."""
        ended, self.ended, self._stop = self.ended, None, None
        if ended is not None:
            if self._is_cancelled:
                ended.unpause()
            else:
                ended.callback(failure)

    def _cancel(self, ended: Deferred[None]) -> None:
        # Who is told of the cancellation may cancel it again.
        if self._is_cancelled:
            return
        # Its result is a CancelledError when this returns, which is passed on when all is over.
        self._is_cancelled = True
        ended.pause()
        if self._stop is not None:
            self._stop()


class Puts:
    """Writes new blobs to a store, some at a time, the most urgent first; then has them sent."""

    def __init__(
        self,
        permits: Permits,
        new_preamble: NewPreamble,
        send: Callable[[BlobKey, int], Deferred[None]],
    ) -> None:
        """
        Nothing is under way.

        :param permits: those that all writes need.
        :param new_preamble: makes what a blob will be sealed with.
        :param send: sends one that has been written.
        """
        self._permits = permits
        self._new_preamble = new_preamble
        self._send = send

    def put(
        self,
        store: IBlobStore,
        doc: BlobDoc,
        key: BlobKey,
        size: int,
        priority: Priority,
        local_only: bool,
    ) -> Deferred[None]:
        """
        Store a blob: LOCAL_ONLY; or PENDING_UPLOAD with the preamble that it will be sealed with,
        and send it.

        :return: fires with None when that is done. Fails as ``store.put`` or ``send`` do.
        """
        put = _Put(doc, key, size, priority, self._permits.new_age(), not local_only)
        ended = put.ended
        assert ended is not None
        if self._permits.take():
            self._write(store, put)
        else:
            granted = self._permits.acquire(put)
            put.wait_for(granted, lambda _: self._write(store, put))
        return ended

    def _write(self, store: IBlobStore, put: _Put) -> None:
        status, preamble = SyncStatus.LOCAL_ONLY, b""
        key, doc = put.key, put.doc
        try:
            if put.is_sent:
                status, preamble = SyncStatus.PENDING_UPLOAD, self._new_preamble(key, put.size)
            urgency = Priority(put.priority)
            writing = store.put(
                key.blob_id, doc.blob_fd, put.size, key.namespace, status, urgency, preamble
            )
        except Exception:
            writing = fail()
        put.wait_for(writing.addBoth(self._written), lambda _: self._go_on(put))

    def _written(self, result: T) -> T:
        self._permits.release()
        return result

    def _go_on(self, put: _Put) -> None:
        if put.is_sent and put.goes_on:
            put.wait_for(self._send(put.key, put.priority), put.end)
        else:
            put.end()
