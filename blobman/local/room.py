"""
Room on the disk: taken before it is needed, so that a full disk can be cleared.

Two things are there in time. The database is as long as it is going to be before a transaction is
committed to its log; so the log can always be brought into it, and begun anew. And the lock's file
is larger than it has to be: a reserve, which makes way for deletions, and without which nothing
else is stored.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from pathlib import Path

import apsw

from .connection import pragma
from .wholeness import length_of

__all__ = ["Room"]

_RESERVES = range(1 << 20, 1 << 18, -(1 << 16))
"""Bytes for deletions, as many as there is room for: one takes some pages of the log."""

_NOTE = 4096
"""Bytes of the lock's file that are for :mod:`.acknowledged`."""

_AHEAD = 1 << 20
"""Bytes that the database grows by at least."""


class Room:
    """
    The room of a store.

    :param path: the database.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = path.with_suffix(".lock")
        self._page_size = 0
        self._has_reserve = False

    def set_up(self, connection: apsw.Connection) -> None:
        """Prepare the writer's connection: without this it takes no room ahead."""
        _, self._page_size = length_of(connection)
        _control(connection, apsw.SQLITE_FCNTL_CHUNK_SIZE, ctypes.c_int(self._page_size))

    def take_for(self, connection: apsw.Connection, there: int) -> None:
        """
        Give the database the room that it is going to need; before a commit.

        :param there: how many bytes it has.
        :raise apsw.FullError: there is no more.
        """
        pages = pragma(connection, "page_count")
        assert isinstance(pages, int)
        if pages * self._page_size <= there:
            return
        wanted = pages * self._page_size + _AHEAD
        try:
            # Who tries to take what is not there may be left with a part of it.
            if self._free() < wanted - there:
                raise apsw.FullError
            _control(connection, apsw.SQLITE_FCNTL_SIZE_HINT, ctypes.c_int64(wanted))
        except apsw.Error as error:
            raise apsw.FullError("there is no room for the database to grow") from error

    def take_back(self, connection: apsw.Connection, pages: int) -> None:
        """
        Give the database the room again that its log takes it to have; it has all its pages.

        What was taken ahead need not have been durable when the power failed. SQLite takes a
        database that is much shorter than its log says for a damaged one, and leaves the log.

        :param pages: of the file, once the log has been brought into it.
        :raise apsw.Error: there is not so much.
        """
        self.set_up(connection)
        wanted = pages * self._page_size
        if self._path.stat().st_size < wanted:
            _control(connection, apsw.SQLITE_FCNTL_SIZE_HINT, ctypes.c_int64(wanted))

    def _free(self) -> int:
        there = os.statvfs(self._path.parent)
        return there.f_bavail * there.f_frsize

    def keep_reserve(self) -> None:
        """
        See to it that the reserve is there.

        :raise apsw.FullError: there is no room for it.
        """
        if self._has_reserve:
            return
        if not (self._is_reserved() or any(map(self._reserve, _RESERVES))):
            raise apsw.FullError("there is only room for deletions")
        self._has_reserve = True

    def _is_reserved(self) -> bool:
        return self._lock.exists() and self._lock.stat().st_size >= _NOTE + _RESERVES[-1]

    def _reserve(self, size: int) -> bool:
        try:
            with open(self._lock, "r+b") as file:
                file.seek(_NOTE)
                file.write(bytes(size))
        except OSError:
            self.give_up_reserve()
            return False
        return True

    def give_up_reserve(self) -> None:
        """Let others have the room."""
        self._has_reserve = False
        with suppress(OSError):
            if self._lock.stat().st_size > _NOTE:
                os.truncate(self._lock, _NOTE)


def _control(connection: apsw.Connection, what: int, value: ctypes._SimpleCData[int]) -> None:
    connection.file_control("main", what, ctypes.addressof(value))
