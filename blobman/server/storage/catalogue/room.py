"""
Room on the disk, taken before it is needed, so that a full disk can be cleared.

A change is written to the log first, and a deletion is one, too. So there is a reserve: a file that
makes way for what clears the disk, and without which nothing is taken in. And the database is as
long as it is going to be before a change is committed to the log, so that it can always be moved
out of that.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Sequence
from contextlib import suppress

import apsw

from ... import disk
from .connection import PAGE_SIZE, ask
from .log import Frame

RESERVE = 2 * 1024 * 1024
"""Bytes for what clears the disk. A deletion takes some pages of the log, until that is moved."""

AHEAD = 1024 * 1024
"""Bytes that the database grows by at least."""


class Room:
    """
    The room of a catalogue. All of it blocks.

    :param database: the path of the database; empty for memory, where there is room.
    :param reserve: the path of the reserve.
    """

    def __init__(self, database: str, reserve: str) -> None:
        self._database = database
        self._reserve = reserve
        self._has_reserve = False
        self._length = 0

    def set_up(self, connection: apsw.Connection) -> None:
        """Prepare a connection that writes: without this it takes no room ahead."""
        _control(connection, apsw.SQLITE_FCNTL_CHUNK_SIZE, ctypes.c_int(PAGE_SIZE))

    def take_for(self, connection: apsw.Connection) -> None:
        """
        Give the database the room that it is going to need; before a commit.

        :raise apsw.FullError: there is not so much.
        """
        if not self._database:
            return
        wanted = int(ask(connection, "PRAGMA page_count")[0][0]) * PAGE_SIZE
        if wanted <= self._length:
            return
        self._length = os.path.getsize(self._database)
        if wanted > self._length:
            self._lengthen(connection, wanted + AHEAD)
            self._length = wanted + AHEAD

    def take_back(self, connection: apsw.Connection, frames: Sequence[Frame]) -> None:
        """
        Give the database the room again that its log takes it to have, if it has all its pages.

        What was taken ahead need not have been durable when the power failed. SQLite takes a
        database that is much shorter than its log says for a damaged one.

        :param frames: what the log has.
        :raise apsw.FullError: there is not so much.
        """
        wanted, size = frames[-1].pages * PAGE_SIZE, os.path.getsize(self._database)
        pages = int(ask(connection, "PRAGMA page_count")[0][0])
        missing = {*range(size // PAGE_SIZE + 1, pages + 1)} - {it.page for it in frames}
        if size < wanted and not missing:
            self._lengthen(connection, wanted)

    @staticmethod
    def _lengthen(connection: apsw.Connection, size: int) -> None:
        try:
            _control(connection, apsw.SQLITE_FCNTL_SIZE_HINT, ctypes.c_int64(size))
        except apsw.Error as error:
            raise apsw.FullError("there is no room for the database to grow") from error

    def moved(self) -> None:
        """Note that the database may have been made as short as it can be."""
        self._length = 0

    def keep_reserve(self) -> None:
        """
        See to it that the reserve is there.

        :raise apsw.FullError: there is no room for it.
        """
        if self._has_reserve or not self._database:
            return
        try:
            self._make_reserve()
        except OSError as error:
            self.give_up_reserve()
            raise apsw.FullError("there is only room for deletions") from error
        self._has_reserve = True

    def _make_reserve(self) -> None:
        descriptor = disk.open_lock(self._reserve)
        try:
            missing = max(0, RESERVE - os.lseek(descriptor, 0, os.SEEK_END))
            there = os.fstatvfs(descriptor)
            if there.f_bavail * there.f_frsize < missing:
                raise OSError(errno.ENOSPC, "no room for the reserve")
            disk.write_all(descriptor, bytes(missing))
        finally:
            os.close(descriptor)

    def give_up_reserve(self) -> bool:
        """
        Let others have it.

        :return: whether there was any.
        """
        self._has_reserve = False
        with suppress(OSError):
            if self._database and os.path.getsize(self._reserve):
                os.truncate(self._reserve, 0)
                return True
        return False


def _control(connection: apsw.Connection, what: int, value: ctypes._SimpleCData[int]) -> None:
    connection.file_control("main", what, ctypes.addressof(value))
