"""
Large payloads: each a file of its own, encrypted with a key of its own.

Such a file is a SQLite database with one row per chunk. It is written once, by one
writer, without a journal: until the store has recorded it (with its key, after it is
on the disk) nobody knows of it, and if that never happens it is garbage. So a large
payload is written to the disk once, not twice; it does not keep others from writing
meanwhile; and when it is deleted its room is given back at once.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4
from weakref import WeakSet

import apsw

from ..errors import ClosedError, StoreError, WrongKeyError
from .connection import KEY_SIZE, connect, file_uri, transaction
from .faults import store_error, store_errors

__all__ = ["FileKey", "PayloadFiles", "PayloadWriter", "fsync"]

_WRITING = ("journal_mode=OFF", "synchronous=OFF", "cache_size=-2048")
_READING = ("cache_size=-256",)
_READ_FLAGS = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI

_PAGE_SIZE = 1 << 16
"""Bytes of a page, as many as there can be: with fewer pages to write, large chunks go faster."""

_FLUSH_EVERY = 32
"""After how many chunks a file that is being written is brought to the disk."""


class FileKey(NamedTuple):
    """
    What opens a payload's file.

    :ivar name: the name in the folder.
    :ivar key: 32 random bytes.
    """

    name: str
    key: bytes

    def __repr__(self) -> str:
        return f"FileKey({self.name!r})"


class PayloadWriter:
    """
    A payload that is being written: nobody else can see it.

    Each method may be called in any thread, one after another or at once.

    :ivar file: its name and its key.
    """

    def __init__(self, folder: Path) -> None:
        self.file = FileKey(uuid4().hex, os.urandom(KEY_SIZE))
        self._path = folder / self.file.name
        self._lock = threading.Lock()
        self._connection: apsw.Connection | None = None
        self._count = 0
        self._flushed = 0
        self._flushing = False
        self._flush_lock = threading.Lock()
        self._flush_error: OSError | None = None
        self._discarded = False
        self._finished = False

    def append(self, chunks: Iterable[bytes | bytearray | memoryview]) -> None:
        """
        Add some chunks, in one transaction.

        :raise StoreError: they can't be written; what has been written is of no use then.
        :raise ClosedError: it was discarded.
        """
        with self._lock, self._errors():
            connection = self._open()
            with transaction(connection):
                for chunk in chunks:
                    connection.execute("INSERT INTO chunks VALUES (?, ?)", (self._count, chunk))
                    self._count += 1

    def _open(self) -> apsw.Connection:
        if self._discarded:
            raise ClosedError("what was being stored has been dropped")
        if self._connection is None:
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            # Nobody else opens it, so it needs no locks; with them, `flush` would lose them.
            self._connection = connect(
                file_uri(self._path, "nolock=1"),
                self.file.key,
                page_size=_PAGE_SIZE,
                pragmas=_WRITING,
            )
            self._connection.execute("CREATE TABLE chunks (number INTEGER PRIMARY KEY, data BLOB)")
        return self._connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            with store_errors(str(self._path)):
                yield
        except StoreError as error:
            if self._connection is not None and isinstance(error.__cause__, apsw.IOError):
                number = self._connection.system_errno
                raise store_error(error.__cause__, str(self._path), number) from error.__cause__
            raise

    def begin_flush(self) -> bool:
        """
        Ask whether much has been written that is not on the disk yet, nor on its way there.

        :return: if so, true, and :meth:`flush` has to be called.
        """
        if self._flushing or self._count - self._flushed < _FLUSH_EVERY:
            return False
        self._flushing = True
        return True

    def flush(self) -> None:
        """
        Bring what has been written to the disk, beside what goes on.

        Otherwise all of a large file would have to go there at the end, at once. It never
        fails: :meth:`finish` does if it has to.
        """
        self._flushed = self._count
        with self._flush_lock:
            try:
                fsync(self._path)
            except FileNotFoundError:
                pass  # It was discarded.
            except OSError as error:
                # The system tells of it once: another fsync would succeed.
                self._flush_error = error
        self._flushing = False

    def finish(self) -> None:
        """
        Bring it to the disk for good.

        :raise StoreError: it can't be written.
        :raise ClosedError: it was discarded.
        """
        with self._lock, self._errors():
            self._open().close()
            self._connection = None
            with self._flush_lock:
                if self._flush_error is not None:
                    raise self._flush_error
            fsync(self._path)
            fsync(self._path.parent)
            self._finished = True

    def abandon(self) -> None:
        """Remove it unless it is finished: then it may have been recorded. Never fails."""
        with self._lock:
            finished = self._finished
        if not finished:
            self.discard()

    def discard(self) -> None:
        """Remove it. Never fails; what is left behind then goes at the next start."""
        with self._lock:
            self._discarded = True
            with suppress(apsw.Error):
                if self._connection is not None:
                    self._connection.close()
            self._connection = None
            with suppress(OSError):
                self._path.unlink()


class PayloadFiles:
    """
    The folder of the large payloads.

    Each method may be called in any thread. The files that were read last stay open.

    :param folder: where it is; it is made with the first payload.
    :param keep: how many files stay open.
    :ivar folder: where it is.
    """

    def __init__(self, folder: Path, keep: int = 16) -> None:
        self.folder = folder
        self._keep = keep
        self._lock = threading.Lock()
        self._open: OrderedDict[str, _OpenFile] = OrderedDict()
        self._writers: WeakSet[PayloadWriter] = WeakSet()
        self._closed = False

    def writer(self) -> PayloadWriter:
        """Begin a payload. Nothing is written before its first chunk."""
        writer = PayloadWriter(self.folder)
        self._writers.add(writer)
        return writer

    def holds(self, file: FileKey) -> bool:
        """
        Whether the file is there; then it is open afterwards.

        :raise StoreError: it can't be opened, or is damaged.
        :raise ClosedError: the store was closed.
        """
        path = self.folder / file.name
        with store_errors(str(path)):
            return self._opened(file, path) is not None

    def read_chunk(self, file: FileKey, number: int) -> bytes | None:
        """
        Read a chunk.

        :return: the bytes; None if the file has been removed.
        :raise StoreError: it can't be read, or is damaged.
        :raise ClosedError: the store was closed.
        """
        path = self.folder / file.name
        with store_errors(str(path)):
            while (opened := self._opened(file, path)) is not None:
                data = opened.read(number)
                if data is not None:
                    return data
        return None

    def _opened(self, file: FileKey, path: Path) -> _OpenFile | None:
        with self._lock:
            if self._closed:
                raise ClosedError("the store is closed")
            opened = self._open.get(file.name)
            if opened is None or opened.is_closed:
                if not path.exists():
                    return None
                opened = self._open[file.name] = _OpenFile(path, file.key)
                if len(self._open) > self._keep:
                    self._open.popitem(last=False)[1].close()
            self._open.move_to_end(file.name)
            return opened

    def remove(self, names: Iterable[str]) -> None:
        """Remove files that the store does not know any more. What fails goes at the next start."""
        for name in names:
            with self._lock:
                opened = self._open.pop(name, None)
            if opened is not None:
                opened.close()
            with suppress(OSError):
                (self.folder / name).unlink()

    def sweep(self, known: Collection[str]) -> None:
        """Remove what a crash has left: files that are not known."""
        with suppress(FileNotFoundError):
            self.remove(name for name in os.listdir(self.folder) if name not in known)

    def close(self) -> None:
        """
        Close the open files, and remove those that are half written.

        Whatever is read afterwards fails with ``ClosedError``.
        """
        for writer in list(self._writers):
            writer.abandon()
        with self._lock:
            self._closed = True
            opened = list(self._open.values())
            self._open.clear()
        for file in opened:
            file.close()


class _OpenFile:
    """A payload's file, open for reading."""

    def __init__(self, path: Path, key: bytes) -> None:
        self._path = path
        self._key = key
        self._lock = threading.Lock()
        self._connection: apsw.Connection | None = self._connect()

    def _connect(self) -> apsw.Connection:
        # It never changes again, so SQLite needs neither locks nor a look at the disk.
        uri = file_uri(self._path, "immutable=1")
        try:
            return connect(uri, self._key, flags=_READ_FLAGS, pragmas=_READING)
        except WrongKeyError as error:
            raise StoreError(f"{self._path} is damaged") from error

    @property
    def is_closed(self) -> bool:
        return self._connection is None

    def read(self, number: int) -> bytes | None:
        """Read a chunk; None if it has been closed meanwhile, for the sake of others."""
        with self._lock:
            if self._connection is None:
                return None
            found = self._connection.execute(
                "SELECT data FROM chunks WHERE number = ?", (number,)
            ).fetchall()
        if not found:
            raise StoreError(f"{self._path} is damaged: chunk {number} is missing")
        data = found[0][0]
        assert isinstance(data, bytes)
        return data

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None


def fsync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
