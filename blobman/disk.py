"""
Files that are there after a power cut: the few operations that everything on disk is made of.

All of this blocks; it runs in threads.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import StoreError

FOLDER_MODE = 0o700
FILE_MODE = 0o600
_PROBE = 4096
_PIECES = 1024  # IOV_MAX of all systems


READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
"""For reading what may be anything: no link is followed, and no pipe waited for."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY


@contextmanager
def opened(path: str | Path, flags: int = READ, folder: int | None = None) -> Iterator[int]:
    """
    Open a file for the block, which gets its descriptor.

    :param folder: the descriptor of the folder that the path begins in; the current one if None.
    """
    descriptor = os.open(path, flags, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def read_part(descriptor: int, start: int, end: int) -> bytes:
    """Read the bytes from ``start`` to before ``end``; fewer if the file ends before."""
    data = os.pread(descriptor, end - start, start)
    while len(data) < end - start:
        more = os.pread(descriptor, end - start - len(data), start + len(data))
        if not more:
            break
        data += more
    return data


def sync(path: str | Path, folder: int | None = None) -> None:
    """Make a file, or the entries of a folder, durable; see :func:`opened`."""
    with opened(path, os.O_RDONLY, folder) as descriptor:
        os.fsync(descriptor)


_syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)


def sync_file_system(path: str) -> None:
    """
    Make all files of a file system durable.

    :param path: of something in it.
    :raise OSError: they are not. Only Linux can tell.
    """
    if _syncfs is None:
        os.sync()
        return
    with opened(path, os.O_RDONLY) as descriptor:
        if _syncfs(descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


class Heirs:
    """
    Who gets what is made: what root makes, the owner of the folder that it is in. Root
    administers a server that runs as somebody else.

    Each folder is looked at once: it is for things that are made in one go.
    """

    def __init__(self) -> None:
        self._are_any = os.geteuid() == 0
        self._owners: dict[str, tuple[int, int] | None] = {}

    def take_file(self, path: str, descriptor: int) -> None:
        """Hand over a file that was made, and is open."""
        owner = self._owner_of(os.path.dirname(path)) if self._are_any else None
        if owner is not None:
            _hand_over(descriptor, owner)

    def take_folder(self, path: str, parent: str) -> None:
        """Hand over a folder that was made in another."""
        if not self._are_any:
            return
        owner = self._owners[path] = self._owner_of(parent)
        if owner is not None:
            with opened(path, _FOLDER | os.O_NOFOLLOW) as descriptor:
                _hand_over(descriptor, owner)

    def _owner_of(self, folder: str) -> tuple[int, int] | None:
        """Give a folder's owner and group, if it is not root's as well."""
        if folder not in self._owners:
            self._owners[folder] = None
            with suppress(OSError):
                status = os.stat(folder)
                if status.st_uid != 0:
                    self._owners[folder] = status.st_uid, status.st_gid
        return self._owners[folder]


def _hand_over(descriptor: int, owner: tuple[int, int]) -> None:
    # Not everywhere may root do so, and most often nobody else needs it there.
    with suppress(OSError):
        os.fchown(descriptor, *owner)


def make_folders(path: str, heirs: Heirs | None = None) -> list[str]:
    """
    Make a folder and those above it that are missing; see :class:`Heirs` for whose they are.

    :return: the folders that got a new entry, which have to be synced; outermost first. The last
        is the one that the folder is in, if it was not there.
    """
    heirs = heirs or Heirs()
    parent = os.path.dirname(path)
    changed: list[str] = []
    try:
        try:
            os.mkdir(path, FOLDER_MODE)
        except FileNotFoundError:
            changed = make_folders(parent, heirs)
            os.mkdir(path, FOLDER_MODE)
    except FileExistsError:
        return changed
    heirs.take_folder(path, parent)
    return [*changed, parent]


def make_durable_folder(path: str, above: int) -> None:
    """
    Make a folder, and those above it that are missing, for good.

    Those that are there need not be durable: whoever made them may have been killed.

    :param above: how many of the folders above it may be such.
    """
    changed = set(make_folders(path))
    for _ in range(above):
        path = os.path.dirname(path)
        changed.add(path)
    for folder in changed:
        # What was there all the time may be somebody else's.
        with suppress(PermissionError):
            sync(folder)


def create(path: str, heirs: Heirs | None = None) -> int:
    """
    Make a file that is not there yet; see :class:`Heirs` for whose it is.

    :return: its descriptor, for writing.
    :raise FileExistsError: it is there.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, FILE_MODE)
    (heirs or Heirs()).take_file(path, descriptor)
    return descriptor


@contextmanager
def creating(path: str, heirs: Heirs | None = None) -> Iterator[int]:
    """
    Make a file, which is written in the block; see :func:`create` and :func:`finishing`.

    :return: its descriptor.
    :raise OSError: it can't be written.
    """
    descriptor = create(path, heirs)
    with finishing(descriptor, path):
        yield descriptor


@contextmanager
def finishing(descriptor: int, path: str) -> Iterator[None]:
    """
    Write a file in the block that has just been made, durably but for the entry of its folder, and
    close it. If that fails, it is removed.

    :raise OSError: it can't be written.
    """
    try:
        try:
            yield
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except BaseException:
        remove(path)
        raise


@contextmanager
def locked(path: str) -> Iterator[None]:
    """
    Let one process at a time into the block.

    :param path: a file that is only there to be locked; it is made if need be.
    :raise FileNotFoundError: its folder is missing.
    """
    descriptor = open_lock(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def open_lock(path: str) -> int:
    """
    Open a file that is only there to be locked, and make it if need be.

    :return: its descriptor.
    :raise FileNotFoundError: its folder is missing.
    """
    try:
        return create(path)
    except FileExistsError:
        return os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError as error:
        folder = os.path.dirname(path)
        raise FileNotFoundError(errno.ENOENT, "the folder is missing", folder) from error


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of it, in as many turns as it takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def write_pieces(descriptor: int, pieces: Sequence[bytes | memoryview]) -> None:
    """Write all of all pieces, without making one of them."""
    for start in range(0, len(pieces), _PIECES):
        some = pieces[start : start + _PIECES]
        written = os.writev(descriptor, some)
        if written < sum(map(len, some)):
            write_all(descriptor, memoryview(b"".join(some))[written:])


def replace_file(path: str, data: bytes) -> None:
    """
    Make a file hold just this, at once and durably. It keeps its owner, group and mode.

    The new file is beside it until it is whole.
    """
    temporary = os.path.join(os.path.dirname(path), secrets.token_hex(16))
    with creating(temporary) as descriptor:
        _take_after(descriptor, path)
        write_all(descriptor, data)
    put_in_place(temporary, path)


def put_in_place(temporary: str, path: str) -> None:
    """
    Give a file that is whole its name, durably; whatever had it is gone then.

    :raise OSError: that is not possible; then the file is removed.
    """
    try:
        os.replace(temporary, path)
    except BaseException:
        remove(temporary)
        raise
    sync(os.path.dirname(path))


@contextmanager
def replacing(path: str) -> Iterator[Callable[[bytes], None]]:
    """
    Let one process at a time read a file and make it hold something else.

    Where a symbolic link leads is what is replaced: the link stays, and all its names share a lock.

    :return: is called with what the file is to hold.
    :raise FileNotFoundError: its folder is missing.
    """
    target = os.path.realpath(path)
    with locked(target + ".lock"):
        yield lambda data: replace_file(target, data)


def _take_after(descriptor: int, path: str) -> None:
    """Give a file the owner, group and mode of the one that it will replace."""
    try:
        model = os.stat(path)
    except FileNotFoundError:
        return
    own = os.fstat(descriptor)
    try:
        if own.st_uid != model.st_uid:
            os.fchown(descriptor, model.st_uid, model.st_gid)
        elif own.st_gid != model.st_gid:
            os.fchown(descriptor, -1, model.st_gid)
    except PermissionError:
        # It stays ours alone: its mode would let others in than it did.
        return
    os.fchmod(descriptor, stat.S_IMODE(model.st_mode))


def remove(path: str) -> bool:
    """
    Remove a file.

    :return: whether it was there.
    """
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True


def check_writing(folder: str) -> None:
    """
    Write a small file, and remove it.

    :raise OSError: that is not possible.
    """
    path = os.path.join(folder, secrets.token_hex(16))
    descriptor = create(path)
    try:
        write_all(descriptor, bytes(_PROBE))
    finally:
        os.close(descriptor)
        remove(path)


def read_regular_file(path: str) -> bytes:
    """
    Read a small file.

    :raise StoreError: it is something else, such as a folder, or a pipe that nobody writes to.
    :raise OSError: it can't be read.
    """
    # Opening a pipe would wait for somebody who writes.
    with opened(path, os.O_RDONLY | os.O_NONBLOCK) as descriptor:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise StoreError(f"{path} is not a regular file")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read()


def version_of(path: str) -> tuple[int, ...]:
    """Give what changes when a file, its owner or its mode does; empty if it is not there."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return ()
    return status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size
