"""
A disk that loses power, fills up, and fails: :class:`VolatileDisk`.

It lies under all that a server writes: under SQLite as a VFS, and under the functions of ``os``.
Nothing is copied. Of what has been written since a file was last synced it keeps what was there
before, sector by sector, and likewise what became of the entries of folders. When the power fails,
any part of that may be lost: of each sector, any version that it has had since.
"""

from __future__ import annotations

import ctypes
import errno
import os
import random
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, cast

import apsw
from twisted.trial.unittest import SynchronousTestCase

SECTOR = 512
"""Bytes that are written whole, or not at all."""

_VFS = "blobman-volatile"
_DISKS: dict[str, VolatileDisk] = {}


class _Record(NamedTuple):
    """
    What was there before a write.

    :ivar start: where it begins, in bytes; the beginning of a sector.
    :ivar before: what was there, in whole sectors.
    :ivar size: of the file.
    """

    start: int
    before: bytes
    size: int


class VolatileDisk:
    """
    A folder, and all that is in it.

    :param root: the folder.
    :param chance: says what survives when the power fails.
    :ivar operations: how many changes and syncs there have been.
    :ivar is_dead: the power has failed: all else fails.
    :ivar capacity: the bytes that fit; None for no limit.
    :ivar failing: says of a path whether to sync it fails.
    """

    def __init__(self, root: str, chance: random.Random) -> None:
        self.root = os.path.abspath(root)
        self.operations = 0
        self.is_dead = False
        self.capacity: int | None = None
        self.failing: Callable[[str], bool] = lambda _: False
        self._chance = chance
        self._ends_at: int | None = None
        self._lock = threading.RLock()
        self._graves = self.root + ".removed"
        self._records: dict[str, list[_Record]] = {}
        self._doomed: dict[str, dict[int, bytes]] = {}
        self._made: list[str] = []
        self._removed: dict[str, str] = {}
        self._new_logs: set[str] = set()

    def install(self, test: SynchronousTestCase) -> None:
        """Put it under a test, until that ends."""
        _register()
        before = apsw.Connection(":memory:").open_vfs
        _DISKS[self.root] = self
        apsw.set_default_vfs(f"multipleciphers-{_VFS}")
        test.addCleanup(_DISKS.pop, self.root, None)
        test.addCleanup(apsw.set_default_vfs, before)
        for name, function in _functions(self).items():
            test.patch(os, name, function)

    # -- the power ---------------------------------------------------------------------

    def fail_after(self, operations: int) -> None:
        """Have the power fail after some more operations."""
        self._ends_at = self.operations + operations

    def revive(self) -> None:
        """Go on as after a crash of whoever used the disk: nothing is lost, or synced, by that."""
        self.is_dead, self._ends_at = False, None

    def restore_power(self, loses_all: bool = False) -> None:
        """
        Have the disk hold what has survived. Nobody may have anything of it open.

        :param loses_all: all that was never synced is lost; if not, any part of it.
        """
        self.revive()
        _DISKS.pop(self.root)
        self._lose(loses_all)
        for kept in (self._records, self._doomed, self._made, self._removed, self._new_logs):
            kept.clear()
        _DISKS[self.root] = self

    def _lose(self, loses_all: bool) -> None:
        for path, records in self._records.items():
            if os.path.exists(path):
                self._rewind(path, records, loses_all)
        for path, sectors in self._doomed.items():
            if os.path.exists(path):
                self._write_sectors(path, sectors)
        for path in reversed(self._made):
            if loses_all or self._chance.random() < 0.5:
                _remove(path)
        for path, grave in self._removed.items():
            is_back = loses_all or self._chance.random() < 0.5
            if is_back and not os.path.exists(path) and os.path.exists(os.path.dirname(path)):
                os.rename(grave, path)
        # It lies in memory.
        for folder, _, files in os.walk(self.root):
            for file in files:
                if file.endswith("-shm"):
                    _remove(os.path.join(folder, file))

    def _rewind(self, path: str, records: Sequence[_Record], loses_all: bool) -> None:
        versions: dict[int, list[bytes | None]] = {}
        for record in records:
            for number, sector in _sectors(record.start, record.before):
                versions.setdefault(number, []).append(sector)
        sizes = [*(record.size for record in records), os.path.getsize(path)]
        choose = (lambda them: them[0]) if loses_all else self._chance.choice
        chosen = {number: choose([*them, None]) for number, them in versions.items()}
        self._write_sectors(path, {it: them for it, them in chosen.items() if them is not None})
        os.truncate(path, choose(sizes))

    @staticmethod
    def _write_sectors(path: str, sectors: dict[int, bytes]) -> None:
        size = os.path.getsize(path)
        with open(path, "r+b") as file:
            for number, sector in sectors.items():
                file.seek(number * SECTOR)
                file.write(sector)
        os.truncate(path, size)

    # -- what is done ------------------------------------------------------------------

    def check(self) -> None:
        """
        See whether there is power.

        :raise OSError: there is not.
        """
        if self.is_dead:
            raise OSError(errno.EIO, "the power has failed")

    @contextmanager
    def operation(self) -> Iterator[None]:
        """
        Do something in the block, which may be the last thing.

        :raise OSError: the power has failed before, or fails now.
        """
        with self._lock:
            self.check()
            self.operations += 1
            try:
                yield
            finally:
                self.is_dead = self.is_dying()
            self.check()

    def is_dying(self) -> bool:
        """Whether the present operation is the last one: what it syncs is not."""
        return self.operations == self._ends_at

    def take(self, path: str, start: int, length: int) -> int:
        """
        Note that something is going to be written.

        :return: how much of it fits.
        :raise OSError: nothing does.
        """
        size = os.path.getsize(path)
        more = start + length - size
        if self.capacity is not None and more > 0:
            free = max(0, self.capacity - self.used())
            length -= max(0, more - free)
            if length <= 0:
                raise OSError(errno.ENOSPC, "the disk is full")
        self._note(path, start, length, size)
        return length

    def _note(self, path: str, start: int, length: int, size: int) -> None:
        first = start - start % SECTOR
        end = -(-(start + length) // SECTOR) * SECTOR
        with open(path, "rb") as file:
            file.seek(first)
            before = bytearray(file.read(end - first).ljust(end - first, b"\0"))
        doomed = self._doomed.get(path, {})
        for number in range(first // SECTOR, end // SECTOR):
            if number in doomed:
                place = number * SECTOR - first
                before[place : place + SECTOR] = doomed.pop(number)
        self._records.setdefault(path, []).append(_Record(first, bytes(before), size))

    def truncate(self, path: str, size: int) -> None:
        """Note that a file is going to be cut."""
        present = os.path.getsize(path)
        self._note(path, size, max(0, present - size), present)

    def sync(self, path: str) -> None:
        """
        Note that a file, or a folder, has been synced.

        :raise OSError: that has failed. What was to be written never will be.
        """
        if self.failing(path):
            for record in self._records.pop(path, []):
                for number, sector in _sectors(record.start, record.before):
                    self._doomed.setdefault(path, {}).setdefault(number, sector)
            raise OSError(errno.EIO, "the disk failed")
        self._records.pop(path, None)
        self._made = [it for it in self._made if os.path.dirname(it) != path]
        for removed in [it for it in self._removed if os.path.dirname(it) == path]:
            os.unlink(self._removed.pop(removed))
        if path in self._new_logs:
            # SQLite does so.
            self._new_logs.discard(path)
            self.sync(os.path.dirname(path))

    def made(self, path: str, is_log: bool = False) -> None:
        """Note that a file or a folder has been made."""
        self._made.append(path)
        if is_log:
            self._new_logs.add(path)

    def removing(self, path: str) -> None:
        """Note that a file is going to be removed."""
        self._records.pop(path, None)
        self._doomed.pop(path, None)
        if path in self._made:
            self._made.remove(path)
        elif os.path.exists(path):
            os.makedirs(self._graves, exist_ok=True)
            grave = os.path.join(self._graves, str(self.operations))
            os.link(path, grave)
            self._removed[path] = grave

    def used(self) -> int:
        """Sum the files up."""
        return sum(
            os.path.getsize(os.path.join(folder, file))
            for folder, _, files in os.walk(self.root)
            for file in files
            if not file.endswith("-shm")
        )


def _sectors(start: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    for offset in range(0, len(data), SECTOR):
        yield (start + offset) // SECTOR, data[offset : offset + SECTOR]


def _remove(path: str) -> None:
    with suppress(FileNotFoundError):
        if os.path.isdir(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)


def _disk_of(path: str | None) -> VolatileDisk | None:
    """Give the disk that a file is on, if it is one of these."""
    for root, disk in _DISKS.items():
        if path is not None and (path == root or path.startswith(root + os.sep)):
            return disk
    return None


# -- under SQLite ----------------------------------------------------------------------


@contextmanager
def _told() -> Iterator[None]:
    """Raise the system's errors as SQLite's."""
    try:
        yield
    except OSError as error:
        kind = apsw.FullError if error.errno == errno.ENOSPC else apsw.IOError
        raise kind(str(error)) from error


class _File(apsw.VFSFile):
    def __init__(self, disk: VolatileDisk, path: str, name: Any, flags: list[int]) -> None:
        super().__init__("unix", name, flags)
        self._disk = disk
        self._path = path

    def excepthook(self, *_: object) -> bool:
        """SQLite is told, which is enough."""
        return True

    def xRead(self, amount: int, offset: int) -> bytes:
        with _told():
            self._disk.check()
        return super().xRead(amount, offset)

    def xWrite(self, data: Any, offset: int) -> None:
        with _told(), self._disk.operation():
            fits = self._disk.take(self._path, offset, len(data))
            super().xWrite(bytes(data)[:fits], offset)
            if fits < len(data):
                raise OSError(errno.ENOSPC, "the disk is full")

    def xTruncate(self, newsize: int) -> None:
        with _told(), self._disk.operation():
            self._disk.truncate(self._path, newsize)
            super().xTruncate(newsize)

    def xFileControl(self, op: int, ptr: int) -> bool:
        if op != apsw.SQLITE_FCNTL_SIZE_HINT:
            return super().xFileControl(op, ptr)
        with _told(), self._disk.operation():
            size = os.path.getsize(self._path)
            more = ctypes.c_int64.from_address(ptr).value - size
            if more > 0 and self._disk.take(self._path, size, more) < more:
                raise OSError(errno.ENOSPC, "the disk is full")
            return super().xFileControl(op, ptr)

    def xSync(self, flags: int) -> None:
        with _told(), self._disk.operation():
            if not self._disk.is_dying():
                self._disk.sync(self._path)


class _Files(apsw.VFS):
    def __init__(self) -> None:
        super().__init__(_VFS, "unix")

    def excepthook(self, *_: object) -> bool:
        """SQLite is told, which is enough."""
        return True

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        disk = _disk_of(path)
        if disk is None or path is None:
            return apsw.VFSFile("unix", name, flags)
        with _told(), disk.operation():
            is_new = not os.path.exists(path)
            file = _File(disk, path, name, flags)
            if is_new:
                disk.made(path, not flags[0] & apsw.SQLITE_OPEN_MAIN_DB)
            return file

    def xDelete(self, filename: str, syncdir: bool) -> None:
        disk = _disk_of(filename)
        if disk is None:
            return super().xDelete(filename, syncdir)
        with _told(), disk.operation():
            disk.removing(filename)
            super().xDelete(filename, False)
            if syncdir and not disk.is_dying():
                disk.sync(os.path.dirname(filename))
        return None


_REGISTERED: list[_Files] = []


def _register() -> None:
    """Have SQLite know it, for as long as the process lives: a layer of ciphers stands on it."""
    if not _REGISTERED:
        _REGISTERED.append(_Files())
        apsw.Connection(":memory:", vfs=f"multipleciphers-{_VFS}").close()


# -- under the rest --------------------------------------------------------------------


def _functions(disk: VolatileDisk) -> dict[str, Callable[..., Any]]:
    """Give the functions of ``os`` that are to be replaced."""
    real = {
        name: getattr(os, name)
        for name in (
            "open",
            "write",
            "writev",
            "pwrite",
            "posix_fallocate",
            "fsync",
            "mkdir",
            "unlink",
        )
    }
    own = _Functions(disk, real)
    return {name: getattr(own, name) for name in real}


class _Functions:
    """Functions of ``os``, as they are on such a disk; elsewhere they do what they do."""

    def __init__(self, disk: VolatileDisk, real: dict[str, Callable[..., Any]]) -> None:
        self._disk = disk
        self._real = real

    def _path(self, path: Any, dir_fd: int | None = None) -> str | None:
        """Give the whole path of what is on the disk; None if it is elsewhere."""
        if isinstance(path, int):
            whole = os.readlink(f"/proc/self/fd/{path}")
        else:
            folder = os.getcwd() if dir_fd is None else os.readlink(f"/proc/self/fd/{dir_fd}")
            whole = os.path.join(folder, os.fspath(path))
        return whole if _disk_of(whole) is self._disk else None

    def open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        whole = self._path(path, dir_fd)
        if whole is None:
            return cast(int, self._real["open"](path, flags, mode, dir_fd=dir_fd))
        if not flags & os.O_CREAT:
            self._disk.check()
            return cast(int, self._real["open"](path, flags, mode, dir_fd=dir_fd))
        with self._disk.operation():
            is_new = not os.path.exists(whole)
            descriptor = cast(int, self._real["open"](path, flags, mode, dir_fd=dir_fd))
            if is_new:
                self._disk.made(whole)
        return descriptor

    def write(self, descriptor: int, data: Any) -> int:
        path = self._path(descriptor)
        if path is None:
            return cast(int, self._real["write"](descriptor, data))
        with self._disk.operation():
            fits = self._disk.take(path, os.lseek(descriptor, 0, os.SEEK_CUR), len(data))
            return cast(int, self._real["write"](descriptor, memoryview(data)[:fits]))

    def writev(self, descriptor: int, pieces: Sequence[Any]) -> int:
        return self.write(descriptor, b"".join(pieces))

    def pwrite(self, descriptor: int, data: bytes, offset: int) -> int:
        path = self._path(descriptor)
        if path is None:
            return cast(int, self._real["pwrite"](descriptor, data, offset))
        with self._disk.operation():
            fits = self._disk.take(path, offset, len(data))
            return cast(int, self._real["pwrite"](descriptor, data[:fits], offset))

    def posix_fallocate(self, descriptor: int, start: int, length: int) -> None:
        path = self._path(descriptor)
        if path is None:
            self._real["posix_fallocate"](descriptor, start, length)
            return
        with self._disk.operation():
            if self._disk.take(path, start, length) < length:
                raise OSError(errno.ENOSPC, "the disk is full")
            self._real["posix_fallocate"](descriptor, start, length)

    def fsync(self, descriptor: int) -> None:
        path = self._path(descriptor)
        if path is not None:
            with self._disk.operation():
                if not self._disk.is_dying():
                    self._disk.sync(path)

    def mkdir(self, path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        whole = self._path(path, dir_fd)
        if whole is None:
            self._real["mkdir"](path, mode, dir_fd=dir_fd)
            return
        with self._disk.operation():
            self._real["mkdir"](path, mode, dir_fd=dir_fd)
            self._disk.made(whole)

    def unlink(self, path: Any, *, dir_fd: int | None = None) -> None:
        whole = self._path(path, dir_fd)
        if whole is None:
            self._real["unlink"](path, dir_fd=dir_fd)
            return
        with self._disk.operation():
            self._disk.removing(whole)
            self._real["unlink"](path, dir_fd=dir_fd)
