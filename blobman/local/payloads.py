"""
Large payloads: each a file of its own, encrypted with a key of its own.

Such a file is a SQLite database with one row per chunk. It is written once, by one
writer, without a journal: until the store has recorded it (with its key, after it is
on the disk) nobody knows of it. So a large payload is written to the disk once, not
twice; it does not keep others from writing meanwhile; and when it is deleted its room
is given back at once.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from weakref import WeakSet

import apsw

from ..errors import ClosedError, StoreError, WrongKeyError
from ..sqlite import file_uri
from .connection import connect
from .faults import store_errors
from .payload_writer import FileKey, PayloadWriter
from .wholeness import check_payload_file

__all__ = ["PayloadFiles"]

_READING = ("cache_size=-256",)
_READ_FLAGS = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI


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

    def remove(self, names: Iterable[str]) -> list[str]:
        """
        Remove files that are recorded as going.

        :return: those that are not there any more.
        """
        gone = []
        for name in names:
            with self._lock:
                opened = self._open.pop(name, None)
            if opened is not None:
                opened.close()
            with suppress(OSError):
                (self.folder / name).unlink(missing_ok=True)
                gone.append(name)
        return gone

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
            connection = connect(uri, self._key, flags=_READ_FLAGS, pragmas=_READING)
        except WrongKeyError as error:
            raise StoreError(f"{self._path} is damaged") from error
        try:
            check_payload_file(connection, self._path)
        except BaseException:
            connection.close()
            raise
        return connection

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
