"""
The write-ahead log as it lies on the disk.

SQLite believes a log up to its last whole transaction, and drops what follows. These are the parts
of it that tell whether something was dropped; they are not encrypted, and hold no content. The
format is SQLite's: https://www.sqlite.org/fileformat.html#the_write_ahead_log
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["LogFile", "Salts", "log_of"]

_HEADER = struct.Struct(">8I")
_FRAME = struct.Struct(">6I")
_MAGIC = {0x377F0682: "<", 0x377F0683: ">"}
_CHECKED = 24
"""Bytes of the header that its checksum is about."""

_WORD = 2**32

_GENERATIONS = 16
"""How many may follow one another before anybody notes one of them, and more than ever do."""


class Salts(NamedTuple):
    """What tells one generation of a log from another: the first is one more in the next one."""

    first: int
    second: int

    def is_later_than(self, other: Salts) -> bool:
        """Whether these are of a generation that follows another. A new file's are random."""
        return 0 < (self.first - other.first) % _WORD <= _GENERATIONS


def log_of(path: Path) -> Path:
    """Name the log of a database."""
    return path.with_name(path.name + "-wal")


class LogFile:
    """
    The log of a database, open for reading.

    :param path: its file.
    :raise OSError: it can't be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDONLY)

    def is_in_place(self) -> bool:
        """
        Whether it is the file that is found by its name.

        :raise OSError: there is none.
        """
        return os.path.samestat(os.stat(self._path), os.fstat(self._descriptor))

    def is_whole(self) -> bool:
        """Whether it is empty, or has a header. Nobody may begin it anew meanwhile."""
        return not os.fstat(self._descriptor).st_size or self.read_salts() is not None

    def read_salts(self) -> Salts | None:
        """Read the salts of the generation; None if there is no header, or a damaged one."""
        raw = os.pread(self._descriptor, _HEADER.size, 0)
        if len(raw) < _HEADER.size:
            return None
        magic, *_, first, second, one, other = _HEADER.unpack(raw)
        if magic not in _MAGIC or _checksum(raw[:_CHECKED], _MAGIC[magic]) != (one, other):
            return None
        return Salts(first, second)

    def read_salts_at(self, frame: int, page_size: int) -> Salts | None:
        """
        Read the salts of the generation that a frame is of.

        :param frame: its number, counted from 1.
        """
        header = self._read_frame(frame, page_size)
        return None if header is None else Salts(*header[2:4])

    def pages(self, frames: int, page_size: int) -> Iterator[int]:
        """Give the numbers of the pages that some frames, from the first one, hold."""
        for frame in range(1, frames + 1):
            header = self._read_frame(frame, page_size)
            if header is not None:
                yield header[0]

    def pages_after(self, frames: int, page_size: int) -> int:
        """Tell how many pages the database's file has once these frames are in it."""
        header = self._read_frame(frames, page_size)
        return 0 if header is None else header[1]

    def _read_frame(self, frame: int, page_size: int) -> tuple[int, ...] | None:
        offset = _HEADER.size + (frame - 1) * (_FRAME.size + page_size)
        raw = os.pread(self._descriptor, _FRAME.size, offset)
        return _FRAME.unpack(raw) if len(raw) == _FRAME.size else None

    def close(self) -> None:
        """Close it."""
        os.close(self._descriptor)


def _checksum(data: bytes, order: str) -> tuple[int, int]:
    one = other = 0
    for first, second in struct.iter_unpack(f"{order}2I", data):
        one = (one + first + other) % _WORD
        other = (other + second + one) % _WORD
    return one, other
