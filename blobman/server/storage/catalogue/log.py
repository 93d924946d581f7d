"""
The log beside a catalogue (SQLite's WAL file), read as the file that it is.

When SQLite opens a log, it takes the frames up to the first one that does not verify, and drops the
others without a word. If those had been moved to the database before, the ones that it takes are
older than the database. So it is recorded how many frames of which log have been moved.
"""

from __future__ import annotations

import os
import struct
import sys
from array import array
from io import BytesIO
from typing import BinaryIO, NamedTuple

_HEADER = struct.Struct(">8I")
_FRAME = struct.Struct(">6I")
_MAGIC = 0x377F0682
"""Checksums are of little-endian words; with the last bit set, of big-endian ones."""

_MASK = 0xFFFFFFFF


class Log(NamedTuple):
    """
    What is in a log.

    :ivar has_header: whether the header is right; without one, SQLite takes nothing.
    :ivar whole: frames up to the first that does not verify.
    :ivar frames: frames that were written to it since it was last begun anew.
    :ivar salt: see :func:`read_salt`.
    """

    has_header: bool
    whole: int
    frames: int
    salt: int | None = None

    @property
    def is_whole(self) -> bool:
        """Whether SQLite takes all that was written, but for what a kill can have cut short."""
        return self.has_header and self.frames - self.whole <= 1


EMPTY = Log(True, 0, 0)


def read_log(path: str) -> Log:
    """
    Read a log that nobody is writing.

    :return: what is in it; it is empty if there is none.
    :raise OSError: it can't be read.
    """
    try:
        with open(path, "rb") as file:
            return _read(file)
    except FileNotFoundError:
        return EMPTY


def _read(file: BinaryIO) -> Log:
    raw = file.read(_HEADER.size)
    if not raw:
        return EMPTY
    if len(raw) < _HEADER.size:
        return Log(False, 0, 0)
    magic, _, page_size, _, *salts, first, second = _HEADER.unpack(raw)
    is_big = bool(magic & 1)
    sums = _add(raw[:24], (0, 0), is_big)
    if magic & ~1 != _MAGIC or sums != (first, second):
        return Log(False, 0, 0)
    whole = frames = number = 0
    while head := file.read(_FRAME.size):
        page = file.read(page_size)
        number += 1
        _, _, *own_salts, first, second = _FRAME.unpack(head.ljust(_FRAME.size, b"\0"))
        if whole == number - 1:
            sums = _add(page, _add(head[:8], sums, is_big), is_big)
            whole += own_salts == salts and len(page) == page_size and sums == (first, second)
        # Behind them are those of the time before it was begun anew, with other salts.
        if own_salts == salts:
            frames = number
    return Log(True, whole, frames, salts[1])


def has_header(descriptor: int, may_be_empty: bool) -> bool:
    """
    Tell whether a log begins as one; while nobody else can begin it anew.

    :param descriptor: of its file.
    :raise OSError: it can't be read.
    """
    raw = os.pread(descriptor, _HEADER.size, 0)
    return _read(BytesIO(raw)).has_header if raw else may_be_empty


def read_salt(path: str) -> int | None:
    """
    Read a number that is drawn each time a log is begun anew.

    :return: 32 bits; None if there is no log.
    :raise OSError: it can't be read.
    """
    try:
        with open(path, "rb") as file:
            raw = file.read(_HEADER.size)
    except FileNotFoundError:
        return None
    return int(_HEADER.unpack(raw)[5]) if len(raw) == _HEADER.size else None


class Frame(NamedTuple):
    """
    A frame of a log.

    :ivar page: the number of the page that it holds, from 1.
    :ivar pages: how many pages the file has once it has been moved; 0 if others belong to it.
    """

    page: int
    pages: int


def read_frames(path: str, count: int, page_size: int) -> list[Frame]:
    """
    Read what the first frames of a log are, without what they hold.

    :raise OSError: it can't be read.
    """
    found = []
    with open(path, "rb", buffering=0) as file:
        for number in range(count):
            file.seek(_HEADER.size + number * (_FRAME.size + page_size))
            page, pages, *_ = _FRAME.unpack(file.read(_FRAME.size))
            found.append(Frame(page, pages))
    return found


def mark_of(salt: int, frames: int) -> int:
    """Give the number by which it is recorded how many frames of a log have been moved."""
    return salt << 32 | frames


def frames_moved(mark: int, salt: int | None) -> int:
    """Tell from that number how many frames of a log have been moved; 0 if it is another log's."""
    return mark & _MASK if mark >> 32 == salt else 0


def _add(data: bytes, sums: tuple[int, int], is_big: bool) -> tuple[int, int]:
    """Go on with a checksum, by 8 bytes at a time."""
    words = array("I", data[: len(data) // 8 * 8])
    if is_big != (sys.byteorder == "big"):
        words.byteswap()
    one, two = sums
    for at in range(0, len(words), 2):
        one = (one + words[at] + two) & _MASK
        two = (two + words[at + 1] + one) & _MASK
    return one, two
