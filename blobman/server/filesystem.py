"""The blobs of all users in one folder: :class:`FilesystemBackend`, which works in threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from ..errors import BlobAlreadyExistsError, BlobNotFoundError, ClosedError, StoreError
from ..model import Flags
from ..protocol import ListQuery
from . import disk, rows, walking
from .backlog import Follower
from .folder import BlobFolder
from .listing import Listing
from .memory import MemoryBlob
from .staging import OpenBlob, StagedFile
from .storage import BlobName, FlagList, Found, IBlobsBackend, Ids, IStoredBlob, IUpload, Outcomes
from .watching import Watch

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall

_T = TypeVar("_T")

THREADS = 10
"""How many operations on the disk run at once; more wait."""

SETTLE_AFTER = 5.0
"""Seconds after which small blobs are moved out of the journal."""

SETTLE_AGAIN_AFTER = 60.0
"""Seconds after which that is tried again for those whose files could not be made."""

JOURNAL_LIMIT = 64 * 1024 * 1024
"""Bytes in the journal that are too many to wait that long."""


@implementer(IBlobsBackend)
class FilesystemBackend:
    """
    Keeps blobs in Soledad's folder layout.

    :param root: the folder; it is made if need be. One server at a time.
    :param reactor: where Deferreds fire; the global one if None.
    :param threads: how many operations on the disk may run at once.
    :param clock: says when to compare the index with the files; the reactor if None.
    :param backlog: how many bytes of small blobs may be durable in the journal only, so that their
        files are made when the server has time, or they are asked for; 0 for none.
    :ivar watch: compares them, while the folder is open.
    """

    _log = Logger()

    def __init__(
        self,
        root: str,
        reactor: Any = None,
        threads: int = THREADS,
        clock: Any = None,
        backlog: int = 0,
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self._reactor = reactor
        self._folder = BlobFolder(root, backlog)
        self._follower: Follower
        self._threads = threads
        self._pool: ThreadPool
        self._is_open = False
        self._closing: list[Deferred[None]] = []
        self._settling: IDelayedCall | None = None
        self._listing = Listing(self._folder, self._run)
        self.watch = Watch(self._folder, self._run, reactor if clock is None else clock)

    def _run(self, call: Callable[..., _T], *arguments: object) -> Deferred[_T]:
        if not self._is_open:
            return fail(ClosedError("the blobs folder is closed"))
        self._follower.put_off()
        return deferToThreadPool(self._reactor, self._pool, call, *arguments)

    # -- opening and closing ---------------------------------------------------------

    def open(self) -> Deferred[None]:
        """
        Take the folder; see :class:`IBlobsBackend`.

        After an end that was not in order, this takes as long as looking at every file.
        """
        self._pool = ThreadPool(0, self._threads, name="blobs")
        self._pool.start()
        folder = self._folder
        self._follower = Follower(
            folder.small.backlog.names, folder.small.place, self._tell_unplaced
        )
        self._is_open = True
        return Deferred.fromCoroutine(self._open())

    async def _open(self) -> None:
        try:
            is_in_order = await self._run(self._folder.open)
            await self._run(self._prepare, is_in_order)
        except BaseException:
            await self.close()
            raise
        # What could not be restored is tried again.
        self._settle_later(None)
        if self._is_open:
            (self.watch.begin if is_in_order else self.watch.begin_later)()

    def _prepare(self, is_in_order: bool) -> None:
        try:
            self._compare_and_count(is_in_order)
        except StoreError as error:
            if not self._folder.index.is_damaged:
                raise
            self._log.error("The index is made anew: {reason}", reason=str(error))
            self._folder.index.open(anew=True)
            self._compare_and_count(False)

    def _compare_and_count(self, is_in_order: bool) -> None:
        if not is_in_order:
            walking.rebuild(self._folder)
        self._folder.is_in_order = True
        self._folder.count_usage()

    def close(self) -> Deferred[None]:
        """Wait for what is under way, and leave the folder; see :class:`IBlobsBackend`."""
        if not self._is_open and not self._closing:
            return succeed(None)
        done: Deferred[None] = Deferred()
        self._closing.append(done)
        if self._is_open:
            self._is_open = False
            self.watch.stop()
            if self._settling is not None and self._settling.active():
                self._settling.cancel()
            # ThreadPool.stop waits for its threads, so it needs one that is not among them.
            threading.Thread(target=self._stop, name="blobs-stop").start()
        return done

    def _stop(self) -> None:
        self._pool.stop()
        self._follower.end()
        self._listing.close()
        try:
            self._folder.close()
        except Exception:
            self._reactor.callFromThread(self._log_unsettled, Failure())
        self._reactor.callFromThread(self._tell_closed)

    def _tell_closed(self) -> None:
        closing, self._closing = self._closing, []
        for done in closing:
            done.callback(None)

    def _heeding(self, call: Callable[..., _T], name: BlobName, *arguments: object) -> _T:
        self._folder.heed(name)
        return call(name, *arguments)

    def check_writing(self) -> Deferred[None]:
        """Write a small file, and remove it; see :class:`IBlobsBackend`."""
        return self._run(disk.check_writing, self._folder.staging)

    # -- blobs -----------------------------------------------------------------------

    def list(self, user: str, query: ListQuery) -> Deferred[Ids]:
        """List ids; see :class:`IBlobsBackend`."""
        return Deferred.fromCoroutine(self._listing.list(user, query))

    def count(self, user: str, query: ListQuery) -> Deferred[int]:
        """Count ids; see :class:`IBlobsBackend`."""
        return Deferred.fromCoroutine(self._listing.count(user, query))

    def read(self, name: BlobName) -> Deferred[IStoredBlob]:
        """Open a blob; see :class:`IBlobsBackend`."""
        return self._run(self._open_blob, name)

    def _open_blob(self, name: BlobName) -> IStoredBlob:
        self._folder.heed(name)
        return self._open_here(name)

    def _open_here(self, name: BlobName) -> OpenBlob | MemoryBlob:
        waiting = self._folder.small.backlog.get(name)
        if waiting is not None:
            return MemoryBlob(waiting.content)
        return OpenBlob(self._folder.places.open_blob(name), self._run)

    def read_some(self, names: Sequence[BlobName], most: int) -> Deferred[Found]:
        """Open some blobs; see :class:`IBlobsBackend`."""
        return self._run(self._open_some, names[: rows.MOST], most)

    def _open_some(self, names: Sequence[BlobName], most: int) -> Found:
        found: Found = []
        looked_at: dict[BlobName, os.stat_result | None] = {}
        for name in names:
            blob = None
            try:
                blob = self._open_here(name)
            except BlobNotFoundError:
                pass
            except OSError:
                if found:
                    # The next call is told of it.
                    break
                raise
            found.append(blob)
            if not isinstance(blob, MemoryBlob):
                looked_at[name] = blob.status if blob else None
            most -= blob.size if blob else 0
            if most <= 0 or (blob and blob.content is None):
                break
        self._folder.heed_all(looked_at)
        return found

    def receive(self, name: BlobName, size: int | None = None) -> Deferred[IUpload]:
        """Begin an upload; see :class:`IBlobsBackend`."""
        return self._run(self._stage, name, size)

    def _stage(self, name: BlobName, size: int | None) -> StagedFile:
        self._folder.heed(name)
        return StagedFile(name, size, self._folder, self._run)

    def store(self, blobs: Sequence[tuple[BlobName, bytes]]) -> Deferred[Outcomes]:
        """Store small blobs, with one wait for the disk; see :class:`IBlobsBackend`."""
        return self._run(self._store, blobs).addBoth(self._settle_later)

    def _store(self, blobs: Sequence[tuple[BlobName, bytes]]) -> Outcomes:
        outcomes = self._folder.store(blobs)
        if any(name in self._folder.small.backlog for name, _ in blobs):
            self._follower.begin()
        for (name, _), outcome in zip(blobs, outcomes, strict=True):
            if isinstance(outcome, BlobAlreadyExistsError):
                self._folder.heed(name)
        return outcomes

    def _settle_later(self, result: _T) -> _T:
        if self._is_open and self._folder.small.journal.size:
            full = self._folder.small.journal.size >= JOURNAL_LIMIT
            if self._settling is None:
                wait = 0 if full else SETTLE_AFTER
                self._settling = self._reactor.callLater(wait, self._settle)
            elif full and self._settling.active():
                self._settling.reset(0)
        return result

    def _settle(self) -> None:
        self._run(self._folder.settle).addCallbacks(self._settled, self._log_unsettled)

    def _settled(self, _: object) -> None:
        self._settling = None
        # Some may have come meanwhile.
        self._settle_later(None)

    def _tell_unplaced(self, error: Exception) -> None:
        self._reactor.callFromThread(
            self._log.error, "Files can't be made: {reason}", reason=str(error)
        )

    def _log_unsettled(self, failure: object) -> None:
        self._settling = None
        self._log.error("The folder could not be put in order: {why}", why=failure)
        if self._is_open and self._folder.small.backlog.names():
            # What the disk has lost is for the next start to see to; this is not lost. However
            # much it is, it has to wait.
            self._settling = self._reactor.callLater(SETTLE_AGAIN_AFTER, self._settle)

    def delete(self, name: BlobName) -> Deferred[None]:
        """Delete a blob; see :class:`IBlobsBackend`."""
        return self._run(self._heeding, self._folder.delete, name)

    def set_flags(self, name: BlobName, flags: Iterable[Flags]) -> Deferred[None]:
        """Replace flags; see :class:`IBlobsBackend`."""
        return self._run(self._heeding, self._folder.set_flags, name, list(flags))

    def get_flags(self, name: BlobName) -> Deferred[FlagList]:
        """Read flags; see :class:`IBlobsBackend`."""
        return self._run(self._heeding, self._folder.get_flags, name)
