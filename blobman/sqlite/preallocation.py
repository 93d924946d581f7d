"""
Room on the disk, taken before it is needed.

Most file systems give it in one call. SQLite does not use that, but writes to each block of a
database. The call needs a descriptor of the file, and a process that closes one loses all its locks
on the file, those of SQLite as well. So all who use a database in a process share a descriptor, and
the last one closes it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import threading
from contextlib import suppress
from typing import NamedTuple

import apsw

from .connection import pragma

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

_NO_ROOM = "there is no room for the database to grow"

_NOT_SUPPORTED = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENODEV, errno.ENOSYS}


class _File(NamedTuple):
    """What tells a file from all others that are there."""

    device: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> _File:
        return cls(status.st_dev, status.st_ino)


class _Shared:
    """A file that is open; with several descriptors if it was just being moved."""

    def __init__(self) -> None:
        self.descriptors: list[int] = []
        self.users = 0


_shared: dict[_File, _Shared] = {}
_lock = threading.Lock()


class Preallocator:
    """
    Takes room for a database. All of it blocks.

    :param path: of the database.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = path
        self._file: _File | None = None

    def open(self) -> None:
        """
        Open the file; before each connection to it, for it may have been replaced.

        If that fails, SQLite takes the room.
        """
        with _lock, suppress(OSError):
            if _File.of(os.stat(self._path)) != self._file:
                self._let_go()
                self._file = self._share()

    def _share(self) -> _File:
        file = _File.of(os.stat(self._path))
        if file not in _shared:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
            file = _File.of(os.fstat(descriptor))
            _shared.setdefault(file, _Shared()).descriptors.append(descriptor)
        _shared[file].users += 1
        return file

    def close(self) -> None:
        """Let go of the file; after the last connection is closed. May be called twice."""
        with _lock:
            self._let_go()

    def _let_go(self) -> None:
        file, self._file = self._file, None
        if file is None:
            return
        shared = _shared[file]
        shared.users -= 1
        if not shared.users:
            for descriptor in _shared.pop(file).descriptors:
                os.close(descriptor)

    def lengthen(self, connection: apsw.Connection, size: int) -> None:
        """
        Make the file so long, unless it is longer; while nobody else does.

        :param connection: to the database.
        :param size: in bytes; of whole pages.
        :raise apsw.FullError: there is not so much room.
        :raise OSError: it can't be done.
        """
        there = os.stat(self._path)
        if there.st_size >= size:
            return
        # Who tries to take what is not there may be left with a part of it.
        if _free(self._path) < size - there.st_size:
            raise apsw.FullError(_NO_ROOM)
        if not self._allocate(there, size):
            _have_sqlite_lengthen(connection, size)

    def _allocate(self, there: os.stat_result, size: int) -> bool:
        """Lengthen it in one call. Give false if that is not possible here."""
        if self._file != _File.of(there):
            return False
        descriptor = _shared[self._file].descriptors[0]
        try:
            return _allocate(descriptor, there.st_size, size - there.st_size)
        except OSError as error:
            if error.errno in _FULL:
                raise apsw.FullError(_NO_ROOM) from error
            raise


def take_room(descriptor: int, start: int, length: int) -> None:
    """
    Make a file longer by zeros, for which there is room on the disk then.

    :param start: where it ends, or behind that.
    :raise OSError: there is not so much room, or the disk fails. The file may be longer.
    """
    if length and not _allocate(descriptor, start, length):
        zeros = memoryview(bytes(length))
        while zeros:
            written = os.pwrite(descriptor, zeros, start)
            start, zeros = start + written, zeros[written:]


def _allocate(descriptor: int, start: int, length: int) -> bool:
    """Take room in one call. Give false if that is not possible here."""
    if not hasattr(os, "posix_fallocate"):
        return False
    try:
        os.posix_fallocate(descriptor, start, length)
    except OSError as error:
        if error.errno in _NOT_SUPPORTED:
            return False
        raise
    return True


def _free(path: str | os.PathLike[str]) -> int:
    there = os.statvfs(path)
    return there.f_bavail * there.f_frsize


def _have_sqlite_lengthen(connection: apsw.Connection, size: int) -> None:
    page_size = pragma(connection, "page_size")
    assert isinstance(page_size, int)
    try:
        # Without this, it takes no room ahead.
        _control(connection, apsw.SQLITE_FCNTL_CHUNK_SIZE, ctypes.c_int(page_size))
        _control(connection, apsw.SQLITE_FCNTL_SIZE_HINT, ctypes.c_int64(size))
    except apsw.Error as error:
        raise apsw.FullError(_NO_ROOM) from error


def _control(connection: apsw.Connection, what: int, value: ctypes._SimpleCData[int]) -> None:
    connection.file_control("main", what, ctypes.addressof(value))
