"""The blobs of all users in one folder: :class:`FilesystemBackend`, which works in threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from ..errors import ClosedError
from ..model import Flags
from ..protocol import TAG_SIZE, ListQuery
from . import disk, layout, listing
from .folder import BlobFolder
from .storage import BlobName, FlagList, IBlobsBackend, Ids, IStoredBlob, IUpload

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorFromThreads

_T = TypeVar("_T")

THREADS = 10
"""How many operations on the disk run at once; more wait."""


@implementer(IBlobsBackend)
class FilesystemBackend:
    """
    Keeps blobs in Soledad's folder layout.

    :param root: the folder; it is made if need be. One server at a time.
    :param reactor: where Deferreds fire; the global one if None.
    :param threads: how many operations on the disk may run at once.
    """

    def __init__(
        self, root: str, reactor: IReactorFromThreads | None = None, threads: int = THREADS
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor as global_reactor

            reactor = global_reactor  # type: ignore[assignment]
        self._reactor = reactor
        self._folder = BlobFolder(root)
        self._threads = threads
        self._pool: ThreadPool
        self._is_open = False

    def _run(self, call: Callable[..., _T], *arguments: object) -> Deferred[_T]:
        if not self._is_open:
            return fail(ClosedError("the blobs folder is closed"))
        assert self._reactor is not None
        return deferToThreadPool(self._reactor, self._pool, call, *arguments)

    def open(self) -> Deferred[None]:
        """Take the folder; see :class:`IBlobsBackend`."""
        self._pool = ThreadPool(0, self._threads, name="blobs")
        self._pool.start()
        self._is_open = True
        return Deferred.fromCoroutine(self._open())

    async def _open(self) -> None:
        try:
            await self._run(self._folder.open)
        except BaseException:
            await self.close()
            raise

    def close(self) -> Deferred[None]:
        """Wait for what is under way, and leave the folder."""
        done: Deferred[None] = Deferred()
        if not self._is_open:
            done.callback(None)
            return done
        self._is_open = False
        assert self._reactor is not None
        reactor = self._reactor

        def stop() -> None:
            self._pool.stop()
            self._folder.close()
            reactor.callFromThread(done.callback, None)

        # ThreadPool.stop waits for its threads, so it needs one that is not among them.
        threading.Thread(target=stop, name="blobs-stop").start()
        return done

    def list(self, user: str, query: ListQuery) -> Deferred[Ids]:
        """List ids; see :class:`IBlobsBackend`."""
        return self._run(self._list, user, query)

    def _list(self, user: str, query: ListQuery) -> Ids:
        folder = os.path.join(self._folder.root, user, query.namespace)
        found = [it for it in listing.walk(folder) if self._is_wanted(it, query)]
        if query.order_by:
            found.sort(key=lambda it: (it.changed, it.blob_id), reverse=query.order_by[0] == "-")
        else:
            found.sort(key=lambda it: it.blob_id)
        return [it.blob_id for it in found]

    def _is_wanted(self, found: listing.Found, query: ListQuery) -> bool:
        if found.is_tombstone != query.deleted:
            return False
        if query.flag is None:
            return True
        if query.deleted or not found.has_flags:
            return False
        beside = os.path.join(
            os.path.dirname(found.path), layout.sidecar(found.blob_id, layout.FLAGS)
        )
        return query.flag in self._folder.read_flags_file(beside)

    def count(self, user: str, query: ListQuery) -> Deferred[int]:
        """Count ids; see :class:`IBlobsBackend`."""
        return self.list(user, query).addCallback(len)

    def read(self, name: BlobName) -> Deferred[IStoredBlob]:
        """Open a blob; see :class:`IBlobsBackend`."""
        return self._run(self._open_blob, name)

    def _open_blob(self, name: BlobName) -> IStoredBlob:
        return OpenBlob(self._folder.open_blob(name), self._run)

    def receive(self, name: BlobName, size: int | None = None) -> Deferred[IUpload]:
        """Begin an upload; see :class:`IBlobsBackend`."""
        return self._run(self._begin_upload, name)

    def _begin_upload(self, name: BlobName) -> IUpload:
        self._folder.check_absent(name)
        return StagedFile(name, self._folder, self._run)

    def delete(self, name: BlobName) -> Deferred[None]:
        """Delete a blob; see :class:`IBlobsBackend`."""
        return self._run(self._folder.delete, name).addCallback(lambda _: None)

    def set_flags(self, name: BlobName, flags: Iterable[Flags]) -> Deferred[None]:
        """Replace flags; see :class:`IBlobsBackend`."""
        return self._run(self._folder.set_flags, name, list(flags))

    def get_flags(self, name: BlobName) -> Deferred[FlagList]:
        """Read flags; see :class:`IBlobsBackend`."""
        return self._run(self._folder.get_flags, name)


@implementer(IUpload)
class StagedFile:
    """
    A file in the staging folder that becomes a blob.

    :param run: calls a function in a thread.
    """

    def __init__(
        self, name: BlobName, folder: BlobFolder, run: Callable[..., Deferred[Any]]
    ) -> None:
        self.name = name
        self.size = 0
        self._folder = folder
        self._run = run
        self._path = folder.new_staging_path()
        self._descriptor = disk.create(self._path)

    def write(self, pieces: Sequence[bytes]) -> Deferred[None]:
        """Append; see :class:`IUpload`."""
        return self._run(self._write, pieces)

    def _write(self, pieces: Sequence[bytes]) -> None:
        for piece in pieces:
            disk.write_all(self._descriptor, piece)
            self.size += len(piece)

    def publish(self, flags: Iterable[Flags] = ()) -> Deferred[None]:
        """Make it durable, then visible; see :class:`IUpload`."""
        return self._run(self._publish, list(flags))

    def _publish(self, flags: list[Flags]) -> None:
        try:
            self._folder.stamp(self._descriptor)
            os.fsync(self._descriptor)
            self._folder.publish(self._path, self.name, flags)
        finally:
            self._discard()

    def discard(self) -> Deferred[None]:
        """Remove it; see :class:`IUpload`."""
        # When the backend is closed, the next start sweeps it.
        return self._run(self._discard).addErrback(lambda _: None)

    def _discard(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
            disk.remove(self._path)


@implementer(IStoredBlob)
class OpenBlob:
    """
    A blob's file, open for reading.

    :param descriptor: it is closed when all is done.
    :param run: calls a function in a thread.
    """

    def __init__(self, descriptor: int, run: Callable[..., Deferred[Any]]) -> None:
        self._descriptor = descriptor
        self._run = run
        self._lock = threading.Lock()
        self.size = os.fstat(descriptor).st_size
        self.tag = os.pread(descriptor, TAG_SIZE, max(0, self.size - TAG_SIZE))

    def read(self, start: int, end: int) -> Deferred[bytes]:
        """Read a part; see :class:`IStoredBlob`."""
        return self._run(self._read, start, end)

    def _read(self, start: int, end: int) -> bytes:
        # Closed under a read, the descriptor's number could by then be another file's.
        with self._lock:
            if self._descriptor < 0:
                raise ClosedError("the blob was closed")
            return disk.read_exactly(self._descriptor, start, end)

    def close(self) -> None:
        """Close the file; see :class:`IStoredBlob`."""
        self._run(self._close).addErrback(lambda _: self._close())

    def _close(self) -> None:
        with self._lock:
            descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
