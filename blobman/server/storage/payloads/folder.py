"""
Payloads as files of a folder: :class:`FolderPayloads`.

A key of 32 hexadecimal digits is the file ``.blobman/payloads/{first two}/{key}``, which is
written once. A key with slashes is the path, from the root, of a file that was adopted where it
was.

All is done relative to the folder as it was when it was opened. What is not there is not believed
unless the path still leads to it.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from .... import disk
from ....errors import ClosedError, StoreError
from ..faults import told
from ..interface import DamagedError, Observers, UnavailableError
from ..threads import CLOSED, Ending, Threads, Worker
from .interface import LINGER, IPayload, IPayloads, IPayloadWriter, Listed
from .memory import MemoryPayload

T = TypeVar("T")

THREADS = 8
"""How many operations on the disk run at once; more wait."""

FLUSH_EVERY = 16 * 1024 * 1024
"""After how many bytes of a payload they are brought to the disk, while more come."""

FOLDER = os.path.join(".blobman", "payloads")

_MARK = os.path.join(".blobman", "mark")

_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC


class _Root:
    """The folder that was opened."""

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        self.descriptor = -1
        self._durable: set[str] = set()
        self._payloads: os.stat_result | None = None

    def open(self) -> None:
        disk.make_durable_folder(os.path.join(self.path, FOLDER), above=2)
        self.descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        self._payloads = os.stat(FOLDER, dir_fd=self.descriptor)

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def check(self) -> None:
        """
        See whether the path still leads to the folder, and that of the payloads is in it.

        :raise UnavailableError: it does not, or that is not.
        """
        assert self._payloads is not None
        try:
            is_same = os.path.samestat(
                os.stat(self.path), os.fstat(self.descriptor)
            ) and os.path.samestat(os.stat(FOLDER, dir_fd=self.descriptor), self._payloads)
        except OSError as error:
            raise UnavailableError(f"the data folder is gone: {error.strerror}") from error
        if not is_same:
            raise UnavailableError("the data folder has been replaced by another one")

    def sync_folder(self, path: str) -> None:
        disk.sync(path, self.descriptor)

    def read_mark(self) -> str | None:
        self.check()
        try:
            return disk.read_regular_file(os.path.join(self.path, _MARK)).decode("ascii")
        except FileNotFoundError:
            return None
        except (StoreError, UnicodeDecodeError) as error:
            raise UnavailableError(f"{os.path.join(self.path, _MARK)} is damaged") from error

    def write_mark(self, mark: str) -> None:
        self.check()
        path = os.path.join(self.path, _MARK)
        disk.replace_file(path, mark.encode("ascii"))

    def make_folder(self, path: str) -> None:
        """Make a folder for payloads durably, if it is not there."""
        try:
            os.mkdir(path, disk.FOLDER_MODE, dir_fd=self.descriptor)
        except FileExistsError:
            if path in self._durable:
                return
        # It may be there, and not be durable: whoever made it was killed, or could not sync it.
        self.sync_folder(FOLDER)
        self._durable.add(path)


class _Descriptor:
    """A descriptor that no thread can be using when it is closed: another file could get it."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._lock = threading.Lock()

    def use(self, call: Callable[[int], T]) -> T:
        """
        Call with the descriptor.

        :raise ClosedError: it is closed.
        """
        with self._lock:
            if self._number < 0:
                raise ClosedError("the payload was closed")
            return call(self._number)

    def sync(self) -> None:
        """Bring the file to the disk, while others may write it."""
        number = self.use(os.dup)
        try:
            os.fsync(number)
        finally:
            os.close(number)

    def close(self) -> None:
        with self._lock:
            number, self._number = self._number, -1
        if number >= 0:
            os.close(number)


def path_of(key: str) -> str:
    """Give the path of a payload, from the data folder."""
    return key if "/" in key else os.path.join(FOLDER, key[:2], key)


@implementer(IPayloadWriter)
class _FileWriter:
    def __init__(self, key: str, size: int | None, root: _Root, workers: Worker) -> None:
        """Make the file. This blocks."""
        self._expected = size
        self._root = root
        self._path = path_of(key)
        self._workers = workers
        self._size = self._flushed = 0
        self._is_flushing = False
        self._flush_error: OSError | None = None
        self._syncing = threading.Lock()
        root.check()
        root.make_folder(os.path.dirname(self._path))
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS
        number = os.open(self._path, flags, disk.FILE_MODE, dir_fd=root.descriptor)
        self._file = _Descriptor(number)

    def write(self, pieces: Sequence[bytes | memoryview]) -> Deferred[None]:
        return self._workers.begin(partial(self._write, pieces)).addCallback(self._flush_behind)

    def _write(self, pieces: Sequence[bytes | memoryview]) -> None:
        with told():
            self._file.use(lambda number: disk.write_pieces(number, pieces))
        self._size += sum(map(len, pieces))

    def _flush_behind(self, _: None) -> None:
        """Bring much that was written to the disk, so that the end does not have to wait for it."""
        if not self._is_flushing and self._size - self._flushed >= FLUSH_EVERY:
            self._is_flushing = True
            self._flushed = self._size
            self._workers.begin(self._flush).addBoth(self._flush_ended)

    def _flush(self) -> None:
        with self._syncing:
            try:
                self._file.sync()
            except OSError as error:
                # The system tells of it once: another fsync would succeed.
                self._flush_error = error

    def _flush_ended(self, _: object) -> None:
        self._is_flushing = False

    def commit(self) -> Deferred[None]:
        def failed(failure: Failure) -> Failure:
            # It may not have begun.
            self.discard()
            return failure

        return self._workers.begin(self._commit).addErrback(failed)

    def _commit(self) -> None:
        with told():
            try:
                if self._expected not in (None, self._size):
                    raise UnavailableError("a payload has other bytes than were announced")
                with self._syncing:
                    self._file.sync()
                if self._flush_error is not None:
                    raise self._flush_error
                self._root.sync_folder(os.path.dirname(self._path))
            finally:
                self._file.close()
        self._root.check()

    def discard(self) -> Deferred[None]:
        return _close(self._file, self._workers)


@implementer(IPayload)
class _File:
    def __init__(self, number: int, size: int, workers: Worker) -> None:
        self.size = size
        self.content: bytes | None = None
        self._file = _Descriptor(number)
        self._workers = workers

    def read(self, start: int, end: int) -> Deferred[bytes]:
        def read() -> bytes:
            with told():
                return self._file.use(lambda number: _read_exactly(number, start, end))

        return self._workers.begin(read)

    def read_ahead(self, start: int, end: int) -> None:
        """Do nothing: the system notices."""

    def close(self) -> None:
        _close(self._file, self._workers)


def _close(file: _Descriptor, workers: Worker) -> Deferred[None]:
    # In a thread: it waits for what is under way.
    return workers.begin(file.close).addErrback(lambda _: file.close())


def _read_exactly(number: int, start: int, end: int) -> bytes:
    data = disk.read_part(number, start, end)
    if len(data) < end - start:
        raise DamagedError("a payload is shorter than it was")
    return data


@implementer(IPayloads)
class FolderPayloads:
    """
    Keeps payloads in a folder.

    :param root: the data folder; it is made if need be.
    :param reactor: where Deferreds fire; the global one if None.
    :param is_apart: whether the catalogue is elsewhere.
    """

    linger = LINGER
    late = 0

    def __init__(self, root: str, reactor: Any = None, is_apart: bool = False) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self.is_apart = is_apart
        self.observers: Observers = []
        self._reactor = reactor
        self._root = _Root(root)
        self._workers: Worker = CLOSED
        self._ending = Ending(self._close)

    def _do(
        self, call: Callable[[], T], release: Callable[[T], object] | None = None
    ) -> Deferred[T]:
        def work() -> T:
            with told():
                return call()

        return self._workers.begin(work, release)

    def open(self) -> Deferred[None]:
        """Begin; see :class:`IPayloads`."""
        return Deferred.fromCoroutine(self._open())

    async def _open(self) -> None:
        self._workers = Threads(self._reactor, "payloads", THREADS)
        self._ending = Ending(self._close)
        try:
            await self._do(self._root.open)
        except BaseException:
            await self.close()
            raise

    def close(self) -> Deferred[None]:
        """End; see :class:`IPayloads`."""
        return self._ending.reach()

    async def _close(self) -> None:
        await self._workers.close()
        self._root.close()

    def check_writing(self) -> Deferred[None]:
        """Write a small file, and remove it; see :class:`IPayloads`."""

        def check() -> None:
            self._root.check()
            disk.check_writing(os.path.join(self._root.path, FOLDER))

        return self._do(check)

    def create(self, key: str, size: int | None = None) -> Deferred[IPayloadWriter]:
        """Begin a payload; see :class:`IPayloads`."""
        return self._do(
            lambda: _FileWriter(key, size, self._root, self._workers), lambda it: it.discard()
        )

    def get(self, key: str, most: int = 0) -> Deferred[IPayload]:
        """Open a payload; see :class:`IPayloads`."""
        return self._do(lambda: self._get(key, most), lambda it: it.close())

    def _get(self, key: str, most: int) -> IPayload:
        number = self._open_file(key)
        size = os.fstat(number).st_size
        if size > most:
            return _File(number, size, self._workers)
        try:
            return MemoryPayload(_read_exactly(number, 0, size), most)
        finally:
            os.close(number)

    def _open_file(self, key: str) -> int:
        try:
            return os.open(path_of(key), os.O_RDONLY | _FLAGS, dir_fd=self._root.descriptor)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise
            self._root.check()
            raise DamagedError("a payload is missing") from error

    def remove(self, keys: Sequence[str]) -> Deferred[dict[str, StoreError]]:
        """Remove payloads; see :class:`IPayloads`."""
        return self._workers.begin(lambda: self._remove_each(keys))

    def _remove_each(self, keys: Sequence[str]) -> dict[str, StoreError]:
        outcomes = {key: self._try_to_remove(key) for key in keys}
        return {key: error for key, error in outcomes.items() if error is not None}

    def _try_to_remove(self, key: str) -> StoreError | None:
        try:
            with told():
                self._remove(key)
        except StoreError as error:
            return error
        return None

    def _remove(self, key: str) -> None:
        path = path_of(key)
        try:
            os.unlink(path, dir_fd=self._root.descriptor)
        except FileNotFoundError:
            self._root.check()
        # Nobody knows of it any more when this is done: a power cut may not bring it back.
        with suppress(FileNotFoundError):
            self._root.sync_folder(os.path.dirname(path))

    async def listed(self) -> AsyncGenerator[list[Listed], None]:
        """List what is there, but for what was adopted; see :class:`IPayloads`."""
        for number in range(256):
            yield await self._do(partial(self._list, f"{number:02x}"))

    def _list(self, folder: str) -> list[Listed]:
        try:
            entries = os.scandir(os.path.join(self._root.path, FOLDER, folder))
        except FileNotFoundError:
            self._root.check()
            return []
        with entries:
            found = [(it.name, it.stat(follow_symlinks=False)) for it in entries]
        return [Listed(name, status.st_size, status.st_mtime) for name, status in found]

    def read_mark(self) -> Deferred[str | None]:
        """Read the mark; see :class:`IPayloads`."""
        return self._do(self._root.read_mark)

    def write_mark(self, mark: str) -> Deferred[None]:
        """Write the mark; see :class:`IPayloads`."""
        return self._do(lambda: self._root.write_mark(mark))
