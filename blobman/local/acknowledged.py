"""
How much has been acknowledged: a note in the lock's file, by which a loss is noticed.

To SQLite, a log that was cut, damaged or lost is one whose last transactions never happened, and
an empty database is a new one. So whoever has committed something notes how far the log reached
then. The note need not be on the disk: after a power cut it says less than is there, never more.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

from ..errors import StoreError
from ..sqlite import LogFile, Salts

__all__ = ["Acknowledged", "was_used"]

_NOTE = struct.Struct(">8s3I")
_SUM = struct.Struct(">I")
_MAGIC = b"blobman1"


class _Note(NamedTuple):
    """
    What is noted.

    :ivar frames: how many frames the log had; 0 if all of it is in the database.
    :ivar salts: of which generation it was.
    """

    frames: int
    salts: Salts


_NOTHING = _Note(0, Salts(0, 0))


def was_used(lock: Path) -> bool:
    """
    Whether a store has been used.

    :param lock: the lock's file.
    """
    return lock.exists() and lock.stat().st_size > 0


class Acknowledged:
    """
    The note about a store.

    :param descriptor: the lock's file, open for reading and writing.
    :param path: the database, for messages.
    :param page_size: the bytes of its pages.
    """

    def __init__(self, descriptor: int, path: Path, page_size: int) -> None:
        self._descriptor = descriptor
        self._path = path
        self._page_size = page_size

    def check(self, log: LogFile | None, frames: int) -> None:
        """
        See whether the log still has what was acknowledged; before anything is written.

        :param log: None if there is none.
        :param frames: how many of its frames SQLite believes.
        :raise StoreError: it has less.
        """
        noted = self._read()
        if not noted.frames:
            return
        salts = None if log is None else log.read_salts()
        if salts is None:
            self._refuse("is damaged or missing")
        elif salts != noted.salts:
            if not salts.is_later_than(noted.salts):
                self._refuse("is an older one")
        elif frames < noted.frames:
            self._refuse("is damaged, or was cut")

    def _refuse(self, what: str) -> None:
        lock = self._path.with_suffix(".lock")
        raise StoreError(
            f"{self._path}-wal {what}: blobs that were stored would be lost. Put it back; or, to "
            f"go on with what is left, close everything that uses the store and remove {lock}"
        )

    def _read(self) -> _Note:
        raw = os.pread(self._descriptor, _NOTE.size + _SUM.size, 0)
        if not raw.strip(b"\0"):
            return _NOTHING
        body, check = raw[: _NOTE.size], raw[_NOTE.size :]
        if not body.startswith(_MAGIC) or check != _SUM.pack(zlib.crc32(body)):
            lock = self._path.with_suffix(".lock")
            raise StoreError(f"{lock} is damaged: if {self._path} is all right, remove it")
        _, frames, first, second = _NOTE.unpack(body)
        return _Note(frames, Salts(first, second))

    def note_commit(self, log: LogFile, frames: int) -> None:
        """
        Note that what is committed is going to be acknowledged.

        :param frames: how many the log has now.
        :raise OSError: it can't be noted.
        """
        # Read each time: another process may have begun the log anew.
        last = log.read_frame(frames, self._page_size)
        if last is not None:
            self._write(_Note(frames, last.salts))

    def note_use(self) -> None:
        """
        Note that the store has been used, unless more is noted.

        :raise OSError: it can't be noted.
        """
        if not os.fstat(self._descriptor).st_size:
            self._write(_NOTHING)

    def clear(self) -> None:
        """
        Note that the log is not needed any more; before it goes.

        :raise OSError: it can't be noted.
        """
        self._write(_NOTHING)
        # After a power cut, the log must not be missed that was removed on purpose.
        os.fsync(self._descriptor)

    def _write(self, note: _Note) -> None:
        body = _NOTE.pack(_MAGIC, note.frames, *note.salts)
        os.pwrite(self._descriptor, body + _SUM.pack(zlib.crc32(body)), 0)
