"""What SQLite and the operating system report, told as the errors of blobman."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import apsw

from ..errors import BlobError, StoreError, StoreFullError

__all__ = ["is_full", "store_error", "store_errors"]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

_CAUSES: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    ((apsw.BusyError, apsw.LockedError), "is locked by another process"),
    ((apsw.CorruptError, apsw.NotADBError), "is damaged"),
    ((apsw.ReadOnlyError,), "may not be written: it is read-only"),
    ((apsw.CantOpenError, apsw.PermissionsError, apsw.AuthError), "can't be opened"),
    ((apsw.IOError, OSError), "can't be read or written"),
    ((apsw.NoMemError, MemoryError), "can't be used: there is no memory left"),
)


def is_full(error: Exception, system_errno: int = 0) -> bool:
    """
    Whether the room ran out. SQLite reports a reached size limit as an I/O error only.

    :param system_errno: the last error number that SQLite got from the operating system.
    """
    if isinstance(error, (apsw.IOError, apsw.CantOpenError)):
        code = getattr(error, "extendedresult", 0)
        return system_errno in _FULL or code == apsw.SQLITE_IOERR_SHMSIZE
    return isinstance(error, apsw.FullError) or (
        isinstance(error, OSError) and error.errno in _FULL
    )


def store_error(error: Exception, path: str, system_errno: int = 0) -> StoreError:
    """
    Say in words what went wrong.

    :param path: the file that it happened to.
    :param system_errno: the last error number that SQLite got from the operating system.
    :return: a :class:`StoreError` with ``error`` as its cause.
    """
    told: StoreError
    if is_full(error, system_errno):
        told = StoreFullError(f"{path} has no room left: the disk is full ({error})")
    else:
        what = next((text for kinds, text in _CAUSES if isinstance(error, kinds)), "can't be used")
        told = StoreError(f"{path} {what} ({error})")
    told.__cause__ = error
    return told


@contextmanager
def store_errors(path: str) -> Iterator[None]:
    """
    Turn what SQLite and the operating system raise inside it into :class:`StoreError`.

    :raise StoreError: something went wrong with the file at ``path``.
    """
    try:
        yield
    except BlobError:
        raise
    except (apsw.Error, OSError, MemoryError) as error:
        raise store_error(error, path) from error
