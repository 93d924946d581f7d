"""
Files that are there after a power cut: the few operations that everything on disk is made of.

All of this blocks; it runs in threads.
"""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import stat
import time

FOLDER_MODE = 0o700
FILE_MODE = 0o600


def sync_folder(path: str) -> None:
    """Make the entries of a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_data(descriptor: int) -> None:
    """Make the bytes of an open file durable."""
    # Not everywhere is there one that leaves out what only concerns dates.
    getattr(os, "fdatasync", os.fsync)(descriptor)


def sync_path(path: str) -> None:
    """Make the bytes of a file durable, if it is there."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)


def can_sync_file_system() -> bool:
    """Tell whether :func:`sync_file_system` works here; it does on Linux."""
    return _syncfs is not None


def sync_file_system(descriptor: int) -> None:
    """
    Make all files of a file system durable.

    :param descriptor: of something in it, open since before they were written.
    :raise OSError: something is not durable. (Before Linux 5.8 the system did not tell.)
    """
    assert _syncfs is not None
    if _syncfs(descriptor):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def make_folders(path: str) -> list[str]:
    """
    Make a folder and those above it that are missing.

    :return: the folders that got a new entry, which have to be synced; outermost first.
    """
    try:
        os.mkdir(path, FOLDER_MODE)
    except FileExistsError:
        return []
    except FileNotFoundError:
        parent = os.path.dirname(path)
        changed = make_folders(parent)
        try:
            os.mkdir(path, FOLDER_MODE)
        except FileExistsError:
            return changed
        return [*changed, parent]
    return [os.path.dirname(path)]


def create(path: str) -> int:
    """
    Make a file that is not there yet.

    :return: its descriptor, for writing.
    :raise FileExistsError: it is there.
    """
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, FILE_MODE)


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of it, in as many turns as it takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def replace_file(path: str, data: bytes, scratch: str) -> None:
    """
    Make a file hold just this, at once and durably.

    :param scratch: a folder on the same file system, for the new file until it is whole.
    """
    temporary = os.path.join(scratch, secrets.token_hex(16))
    descriptor = create(temporary)
    try:
        try:
            write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
    except BaseException:
        remove(temporary)
        raise
    sync_folder(os.path.dirname(path))


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


def read_exactly(descriptor: int, start: int, end: int) -> bytes:
    """
    Read the bytes from ``start`` to before ``end``.

    :raise OSError: the file ends before that.
    """
    data = os.pread(descriptor, end - start, start)
    while len(data) < end - start:
        more = os.pread(descriptor, end - start - len(data), start + len(data))
        if not more:
            raise OSError(errno.EIO, "a stored blob is shorter than it was")
        data += more
    return data


def version_of(path: str) -> tuple[int, ...]:
    """Give what changes when a file is replaced; empty if it is not there."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return ()
    return status.st_ino, status.st_mtime_ns, status.st_size


def status_of(path: str) -> os.stat_result | None:
    """Look at a regular file; None if there is none."""
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def date(descriptor: int) -> None:
    """Date an open file: now, more finely than the system does it."""
    now = time.time_ns()
    os.utime(descriptor, ns=(now, now))
