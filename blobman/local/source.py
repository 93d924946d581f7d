"""The application's file, as ``put`` reads it."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from typing import BinaryIO

from ..errors import UnreadableContentError, WrongSizeError

__all__ = ["Source"]

MOST_NOW = 128 * 1024
"""Bytes of the largest file that is read in the reactor's thread: it takes some microseconds."""

_PAGE = 4096
"""Bytes of a page of memory, or a part of it: what one page holds is there as a whole."""

_RWF_NOWAIT: int | None = getattr(os, "RWF_NOWAIT", None)
"""Has Linux read only what is in memory."""


class Source:
    """
    Exactly so many bytes of a file, from its start; all but :meth:`read_now` is for a thread.

    :param file: a seekable binary file.
    :param size: how many bytes it has to hold.
    :param chunk_size: the bytes of each chunk but the last.
    :param name: what it is, for messages.
    :raise TypeError: it is no file.
    """

    def __init__(self, file: BinaryIO, size: int, chunk_size: int, name: str) -> None:
        if not callable(getattr(file, "read", None)) or not callable(getattr(file, "seek", None)):
            raise TypeError(f"doc must be a seekable binary file, not {type(file).__name__}")
        self._file = file
        self._size = size
        self._chunk_size = chunk_size
        self._name = name
        self._done = -1

    def read_now(self) -> bytes | None:
        """
        Read all of it if that needs no waiting for a disk; in the reactor's thread.

        :return: None if it is not so, or not as long as it should be, or large: a thread will tell.
        """
        if self._size > MOST_NOW:
            return None
        if type(self._file) is io.BytesIO:
            if self._file.closed or self._file.getbuffer().nbytes != self._size:
                return None
            return self._file.getvalue()
        descriptor = self._descriptor()
        if descriptor is None or _RWF_NOWAIT is None:
            return None
        buffer = bytearray(self._size + 1)
        try:
            size = os.preadv(descriptor, [buffer], 0, _RWF_NOWAIT)
            # What follows the last page that is in memory may be there, and not be seen.
            if self._size % _PAGE == 0 and os.fstat(descriptor).st_size != self._size:
                return None
        except (OSError, ValueError):
            return None
        return bytes(memoryview(buffer)[:size]) if size == self._size else None

    def read_all(self) -> bytes:
        """
        Read a file of at most one chunk.

        :raise BlobError: as :meth:`chunks` does.
        """
        data = self._read_at_once()
        if data is None:
            return b"".join(self.chunks(2))
        self._check_size(len(data))
        return data

    def _read_at_once(self) -> bytes | None:
        """
        Read in one call, if that can be done: after each, other threads may have to be waited for.

        :return: all there is, and no more than one byte too much.
        """
        descriptor = self._descriptor()
        if descriptor is None:
            return None
        try:
            data = os.pread(descriptor, self._size + 1, 0)
        except (OSError, ValueError):
            return None  # It fails otherwise, too, and then it is told how.
        # A file that gives less can still have more.
        return data if len(data) >= self._size else None

    def _descriptor(self) -> int | None:
        """Give that of a plain file, which can be read past its object."""
        raw = self._file.raw if type(self._file) is io.BufferedReader else self._file
        return raw.fileno() if type(raw) is io.FileIO and not raw.closed else None

    def chunks(self, count: int) -> Iterator[bytes]:
        """
        Read on.

        :param count: how many chunks to give at most; there are fewer at the end.
        :raise WrongSizeError: the file is shorter, or longer (told after the last chunk).
        :raise UnreadableContentError: reading failed.
        :raise TypeError: it is no binary file.
        :raise ValueError: it is not seekable.
        """
        if self._done < 0:
            self._rewind()
        for _ in range(count):
            if self._done == self._size:
                break
            yield self._read_chunk()
        if self._done == self._size:
            self._check_size(self._done + len(self._read(1)))

    def _rewind(self) -> None:
        try:
            self._file.seek(0)
        except (OSError, ValueError) as error:
            if getattr(self._file, "closed", False):
                raise UnreadableContentError(f"{self._name} can't be read: {error}") from error
            raise ValueError("doc must be a seekable file") from error
        self._done = 0

    def _read_chunk(self) -> bytes:
        wanted = min(self._chunk_size, self._size - self._done)
        data = self._read(wanted)
        if len(data) < wanted:
            parts = [data]
            while data and sum(map(len, parts)) < wanted:
                data = self._read(wanted - sum(map(len, parts)))
                parts.append(data)
            data = b"".join(parts)
        self._done += len(data)
        if len(data) < wanted:
            self._check_size(self._done)
        return data

    def _check_size(self, size: int) -> None:
        if size < self._size:
            raise WrongSizeError(f"{self._name} holds {size} bytes, not {self._size} as size says")
        if size > self._size:
            raise WrongSizeError(f"{self._name} holds more than the {self._size} bytes of size")

    def _read(self, size: int) -> bytes:
        try:
            data = self._file.read(size)
        except (OSError, ValueError) as error:
            raise UnreadableContentError(f"{self._name} can't be read: {error}") from error
        if not isinstance(data, bytes):
            raise TypeError(f"doc must be a binary file: it gave {type(data).__name__}, not bytes")
        if len(data) > size:
            raise UnreadableContentError(f"{self._name} can't be read: it gave more than asked")
        return data
