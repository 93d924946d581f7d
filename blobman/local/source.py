"""The application's file, as ``put`` reads it."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from typing import BinaryIO

from ..errors import UnreadableContentError, WrongSizeError

__all__ = ["Source"]


class Source:
    """
    Exactly so many bytes of a file, from its start; its methods are called in a thread.

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
        raw = self._file.raw if type(self._file) is io.BufferedReader else self._file
        if type(raw) is not io.FileIO or raw.closed:
            return None
        try:
            data = os.pread(raw.fileno(), self._size + 1, 0)
        except (OSError, ValueError):
            return None  # It fails otherwise, too, and then it is told how.
        # A file that gives less can still have more.
        return data if len(data) >= self._size else None

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
