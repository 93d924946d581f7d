"""Files, one by one: what they hold, and how it is told that one is odd."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from .... import disk
from ....errors import InvalidFlagsError, StoreError
from ....model import Flags
from ....protocol import read_flags
from ..interface import BlobName
from . import layout

_MOST_FLAGS = 4096
"""Bytes of a file of flags."""


class Odd(NamedTuple):
    """
    Something that is left where it is.

    :ivar path: from the root. Bytes that are no UTF-8 are escaped.
    :ivar why: what is the matter with it.
    """

    path: str
    why: str


def odd(path: str, why: str) -> Odd:
    """Tell of something whose path may hold anything."""
    return Odd(os.fsencode(path).decode("utf-8", "backslashreplace"), why)


@contextmanager
def reading(path: str) -> Iterator[None]:
    """
    Let no error of the system pass for an answer.

    :param path: what is read in the block.
    :raise StoreError: there was an error; the text names the path.
    """
    try:
        yield
    except OSError as error:
        raise StoreError(f"{odd(path, '').path} can't be read: {error.strerror}") from error


def read_part(descriptor: int, start: int, end: int) -> bytes:
    """
    Read the bytes from ``start`` to before ``end``.

    :raise OSError: the file ends before that, or can't be read.
    """
    data = disk.read_part(descriptor, start, end)
    if len(data) < end - start:
        raise OSError(errno.EIO, "it is shorter than it was")
    return data


def flags_beside(root: str, name: BlobName) -> tuple[Flags, ...] | None:
    """
    Read the flags of a blob.

    :return: () if there is no file of them; None if it is damaged.
    :raise StoreError: they can't be read.
    """
    path = os.path.join(root, layout.path_of(name, layout.FLAGS))
    with reading(path):
        try:
            with disk.opened(path) as descriptor:
                status = os.fstat(descriptor)
                is_file = stat.S_ISREG(status.st_mode)
                text = os.read(descriptor, _MOST_FLAGS) if is_file else b""
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return ()
            raise
    return _parse(text) if is_file else ()


def _parse(text: bytes) -> tuple[Flags, ...] | None:
    try:
        return tuple(read_flags(text))
    except InvalidFlagsError:
        return None


def date_beside(root: str, name: BlobName, suffix: str) -> int | None:
    """
    Give the modification time of a file beside a blob, in nanoseconds since the epoch.

    :param suffix: which one; empty for the blob's own.
    :return: None if there is no such file.
    :raise StoreError: nobody knows.
    """
    path = os.path.join(root, layout.path_of(name, suffix))
    with reading(path):
        try:
            status = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
    return status.st_mtime_ns if stat.S_ISREG(status.st_mode) else None
