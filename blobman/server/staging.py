"""Files on their way into the folder and out of it: uploads, and blobs open for reading."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from ..errors import ClosedError
from ..model import Flags
from ..protocol import TAG_SIZE
from . import disk
from .folder import BlobFolder, Staged
from .storage import BlobName, IStoredBlob, IUpload

SMALL = 64 * 1024
"""Bytes up to which a blob is read whole when it is opened."""

FLUSH_EVERY = 16 * 1024 * 1024
"""After how many bytes of an upload they are brought to the disk, while more come."""

Run = Callable[..., Deferred[Any]]
"""Calls a function in a thread."""


@implementer(IUpload)
class StagedFile:
    """
    A file in the staging folder that becomes a blob. It is made by a call that blocks.

    :param size: how many bytes will come, if that is known; they are reserved at once.
    :raise BlobAlreadyExistsError: the name is taken.
    :raise QuotaExceededError: there is no room.
    """

    def __init__(self, name: BlobName, size: int | None, folder: BlobFolder, run: Run) -> None:
        folder.small.check_absent(name)
        self.name = name
        self.size = 0
        self._folder = folder
        self._run = run
        self._staged = Staged(name, folder.new_staging_path(), -1)
        self._lock = threading.Lock()
        self._flushed = 0
        self._is_flushing = False
        self._flush_error: OSError | None = None
        self._reserve(size or 0)
        try:
            self._staged.descriptor = disk.create(self._staged.path)
        except BaseException:
            self.discard_now()
            raise

    def _reserve(self, size: int) -> None:
        more = size - self._staged.reserved
        if more > 0:
            self._folder.accounts.reserve(self.name.user, more)
            self._staged.reserved = size

    def write(self, pieces: Sequence[bytes | memoryview]) -> Deferred[None]:
        """Append; see :class:`IUpload`."""
        return self._run(self.write_now, pieces).addCallback(self._flush_behind)

    def _flush_behind(self, _: None) -> None:
        """Bring much that was written to the disk, so that the end does not have to wait for it."""
        if not self._is_flushing and self.size - self._flushed >= FLUSH_EVERY:
            self._is_flushing = True
            self._flushed = self.size
            self._run(self._flush).addBoth(self._flush_ended)

    def _flush(self) -> None:
        with self._lock:
            try:
                if self._staged.descriptor >= 0:
                    os.fsync(self._staged.descriptor)
            except OSError as error:
                # The system tells of it once: another fsync would succeed.
                self._flush_error = error

    def _flush_ended(self, _: object) -> None:
        self._is_flushing = False

    def write_now(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Append, in this thread."""
        come = sum(map(len, pieces))
        self._reserve(self.size + come)
        disk.write_pieces(self._staged.descriptor, pieces)
        self.size += come

    def publish(self, flags: Iterable[Flags] = ()) -> Deferred[None]:
        """Make it durable, then visible; see :class:`IUpload`."""
        return self._run(self._publish, list(flags))

    def _publish(self, flags: list[Flags]) -> None:
        try:
            with self._lock:
                if self._flush_error is not None:
                    raise self._flush_error
            self._staged.flags = flags
            self._folder.publish(self._staged)
        finally:
            self.discard_now()

    def discard(self) -> Deferred[None]:
        """Remove it; see :class:`IUpload`."""
        # When the backend is closed, the next start sweeps it.
        return self._run(self.discard_now).addErrback(lambda _: None)

    def discard_now(self) -> None:
        """Remove what is left in the staging folder, in this thread, and what is reserved."""
        staged = self._staged
        with self._lock:
            if staged.descriptor >= 0:
                os.close(staged.descriptor)
                disk.remove(staged.path)
            staged.descriptor = -1
        self._folder.accounts.settle(self.name.user, staged.reserved, 0)
        staged.reserved = 0


@implementer(IStoredBlob)
class OpenBlob:
    """
    A blob's file, open for reading. It is made by a call that blocks.

    :param descriptor: it is closed when all is done.
    :ivar status: what the file is like.
    """

    def __init__(self, descriptor: int, run: Run) -> None:
        self._descriptor = descriptor
        self._run = run
        self._lock = threading.Lock()
        self.content: bytes | None = None
        try:
            self.status = os.fstat(descriptor)
            self.size = self.status.st_size
            if self.size <= SMALL:
                self.content = disk.read_exactly(descriptor, 0, self.size)
                self.tag = self.content[-TAG_SIZE:]
            else:
                self.tag = os.pread(descriptor, TAG_SIZE, self.size - TAG_SIZE)
        except BaseException:
            self._close()
            raise
        if self.content is not None:
            self._close()

    def read(self, start: int, end: int) -> Deferred[bytes]:
        """Read a part; see :class:`IStoredBlob`."""
        if self.content is not None:
            return succeed(self.content[start:end])
        return self._run(self._read, start, end)

    def _read(self, start: int, end: int) -> bytes:
        # Closed under a read, the descriptor's number could by then be another file's.
        with self._lock:
            if self._descriptor < 0:
                raise ClosedError("the blob was closed")
            return disk.read_exactly(self._descriptor, start, end)

    def close(self) -> None:
        """Close the file; see :class:`IStoredBlob`."""
        if self._descriptor >= 0:
            self._run(self._close).addErrback(lambda _: self._close())

    def _close(self) -> None:
        with self._lock:
            descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
