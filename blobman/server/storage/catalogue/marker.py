"""
A number in a file beside the catalogue, such as the last one that was acknowledged.

When SQLite opens a log after a crash, it takes what it finds up to the first frame that does not
verify, and drops the rest without a word. That is right for what a crash cut short, which nobody
was told of, and wrong for damage. Such a number tells the two apart: it is written after what it
tells of, so that it never is larger than what the disk has got.
"""

from __future__ import annotations

import os
import struct
import zlib
from contextlib import suppress

from .... import disk

_FORMAT = struct.Struct("<QI")


def read_marker(path: str) -> int | None:
    """
    Read the file, which a server may be writing.

    :return: the number in it; None if it can't be read, or is not as it was written.
    """
    try:
        with disk.opened(path) as descriptor:
            return _read(descriptor)
    except OSError:
        return None


def _read(descriptor: int) -> int | None:
    raw = os.pread(descriptor, _FORMAT.size, 0)
    if not raw:
        return 0
    if len(raw) < _FORMAT.size:
        return None
    number, checksum = _FORMAT.unpack(raw)
    return int(number) if checksum == zlib.crc32(raw[:8]) else None


class Marker:
    """
    The file.

    :param path: of the file; empty for none.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = -1

    def open(self) -> int:
        """
        Open the file, and make it if need be.

        :return: the number in it; 0 if there is none that can be read.
        """
        if not self._path:
            return 0
        with suppress(FileExistsError):
            os.close(disk.create(self._path))
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_NOFOLLOW)
        return _read(self._descriptor) or 0

    def write(self, number: int) -> None:
        """
        Write the number.

        :raise OSError: that is not possible.
        """
        if self._descriptor >= 0:
            head = struct.pack("<Q", number)
            os.pwrite(self._descriptor, head + struct.pack("<I", zlib.crc32(head)), 0)

    def sync(self) -> None:
        """Make the number durable."""
        if self._descriptor >= 0:
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
