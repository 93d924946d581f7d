"""
The write-ahead log of a database, read as the file that it is.

When SQLite opens a log, it takes the frames up to the first one that does not verify, and drops the
others without a word. These are the parts of a log that tell whether something was dropped; they
are not encrypted, and hold no content. The format is SQLite's:
https://www.sqlite.org/fileformat.html#the_write_ahead_log
"""

from __future__ import annotations

import os
import struct
import sys
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

_HEADER = struct.Struct(">8I")
_FRAME = struct.Struct(">6I")
_MAGIC = 0x377F0682
"""Checksums are of little-endian words; with the last bit set, of big-endian ones."""

_CHECKED = 24
"""Bytes of the header that its checksum is about."""

_WORD = 2**32

_GENERATIONS = 16
"""How many may follow one another before anybody notes one of them, and more than ever do."""


class Salts(NamedTuple):
    """
    What tells one generation of a log from another: each time that it is begun anew, the first is
    one more, and the second is drawn.
    """

    first: int
    second: int

    def is_later_than(self, other: Salts) -> bool:
        """Whether these are of a generation that follows another. A new file's are random."""
        return 0 < (self.first - other.first) % _WORD <= _GENERATIONS


class Frame(NamedTuple):
    """
    A frame of a log, without what it holds.

    :ivar page: the number of the page that it holds, from 1.
    :ivar pages: how many pages the database's file has once it has been moved there; 0 if others
        belong to it.
    :ivar salts: those of the generation that it is of.
    """

    page: int
    pages: int
    salts: Salts


class _Header(NamedTuple):
    page_size: int
    salts: Salts
    sums: tuple[int, int]
    is_big: bool


def log_of(path: Path) -> Path:
    """Name the log of a database."""
    return path.with_name(path.name + "-wal")


class LogFile:
    """
    The log of a database, open for reading.

    Each method raises ``OSError`` if it can't be read.

    :param path: its file.
    :raise OSError: it can't be opened.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDONLY)

    def is_in_place(self) -> bool:
        """
        Whether it is the file that is found by its name.

        :raise OSError: there is none.
        """
        return os.path.samestat(os.stat(self._path), os.fstat(self._descriptor))

    def is_empty(self) -> bool:
        """Whether nothing has been written to it."""
        return not os.fstat(self._descriptor).st_size

    def is_whole(self) -> bool:
        """Whether it is empty, or has a header. Nobody may begin it anew meanwhile."""
        return self.is_empty() or self.read_salts() is not None

    def read_salts(self) -> Salts | None:
        """Read the salts of the generation; None if there is no header, or a damaged one."""
        header = _read_header(self._read_start())
        return header and header.salts

    def read_unverified_salts(self) -> Salts | None:
        """Read the salts of the generation, whatever else is in the header; None without one."""
        raw = self._read_start()
        return Salts(*_HEADER.unpack(raw)[4:6]) if len(raw) == _HEADER.size else None

    def _read_start(self) -> bytes:
        return os.pread(self._descriptor, _HEADER.size, 0)

    def read_frame(self, number: int, page_size: int) -> Frame | None:
        """
        Read what a frame is.

        :param number: from 1.
        :return: None if it is not there.
        """
        offset = _HEADER.size + (number - 1) * (_FRAME.size + page_size)
        raw = os.pread(self._descriptor, _FRAME.size, offset)
        if len(raw) < _FRAME.size:
            return None
        page, pages, first, second, *_ = _FRAME.unpack(raw)
        return Frame(page, pages, Salts(first, second))

    def read_frames(self, count: int, page_size: int) -> Iterator[Frame]:
        """Read what the first frames are, as far as they are there."""
        for number in range(1, count + 1):
            frame = self.read_frame(number, page_size)
            if frame is not None:
                yield frame

    def close(self) -> None:
        """Close it."""
        os.close(self._descriptor)


class Log(NamedTuple):
    """
    What is in a log.

    :ivar has_header: whether the header is right; without one, SQLite takes nothing.
    :ivar whole: frames up to the first that does not verify.
    :ivar frames: frames that were written to it since it was last begun anew.
    :ivar salts: those of that generation; None if it is empty, or the header is damaged.
    """

    has_header: bool
    whole: int
    frames: int
    salts: Salts | None = None

    @property
    def is_whole(self) -> bool:
        """Whether SQLite takes all that was written, but for what a kill can have cut short."""
        return self.has_header and self.frames - self.whole <= 1


def read_log(path: str) -> Log:
    """
    Read and verify all of a log that nobody is writing.

    :return: what is in it; it is empty if there is none.
    :raise OSError: it can't be read.
    """
    try:
        with open(path, "rb") as file:
            return _read_log(file)
    except FileNotFoundError:
        return Log(True, 0, 0)


def _read_log(file: BinaryIO) -> Log:
    raw = file.read(_HEADER.size)
    header = _read_header(raw)
    if header is None:
        return Log(not raw, 0, 0)
    sums = header.sums
    whole = frames = number = 0
    while head := file.read(_FRAME.size):
        page = file.read(header.page_size)
        number += 1
        _, _, *salts, first, second = _FRAME.unpack(head.ljust(_FRAME.size, b"\0"))
        is_own = (*salts,) == header.salts
        if whole == number - 1:
            sums = _add(page, _add(head[:8], sums, header.is_big), header.is_big)
            whole += is_own and len(page) == header.page_size and sums == (first, second)
        # Behind them are those of the time before it was begun anew, with other salts.
        if is_own:
            frames = number
    return Log(True, whole, frames, header.salts)


def _read_header(raw: bytes) -> _Header | None:
    """Read the header of a log; None if there is none, or it is damaged."""
    if len(raw) < _HEADER.size:
        return None
    magic, _, page_size, _, *salts, first, second = _HEADER.unpack(raw)
    is_big = bool(magic & 1)
    sums = _add(raw[:_CHECKED], (0, 0), is_big)
    if magic & ~1 != _MAGIC or sums != (first, second):
        return None
    return _Header(page_size, Salts(*salts), sums, is_big)


def _add(data: bytes, sums: tuple[int, int], is_big: bool) -> tuple[int, int]:
    """Go on with a checksum, by 8 bytes at a time."""
    words = array("I", data[: len(data) // 8 * 8])
    if is_big != (sys.byteorder == "big"):
        words.byteswap()
    one, other = sums
    for at in range(0, len(words), 2):
        one = (one + words[at] + other) % _WORD
        other = (other + words[at + 1] + one) % _WORD
    return one, other
