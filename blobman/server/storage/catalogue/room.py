"""
Room on the disk, taken before it is needed, so that a full disk can be cleared.

A change is written to the log first, and a deletion is one, too. So there is a reserve: a file that
makes way for what clears the disk, and without which nothing is taken in. And the database is as
long as it is going to be before a change is committed to the log, so that it can always be moved
out of that.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import suppress

import apsw

from .... import disk
from ....sqlite import Frame, Preallocator, ask, take_room
from .connection import PAGE_SIZE

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
        self._path = database
        self._database = Preallocator(database)
        self._reserve = reserve
        self._has_reserve = False
        self._length = 0

    def open(self) -> None:
        """Be ready to take some; before each connection to the database is opened."""
        if self._path:
            self._database.open()

    def close(self) -> None:
        """Take no more; after the last connection is closed. May be called twice."""
        self._database.close()

    def take_for(self, connection: apsw.Connection) -> None:
        """
        Give the database the room that it is going to need; before a commit.

        :raise apsw.FullError: there is not so much.
        :raise OSError: the disk fails.
        """
        if not self._path:
            return
        wanted = int(ask(connection, "PRAGMA page_count")[0][0]) * PAGE_SIZE
        if wanted <= self._length:
            return
        self._length = os.path.getsize(self._path)
        if wanted > self._length:
            self._database.lengthen(connection, wanted + AHEAD)
            self._length = wanted + AHEAD

    def take_back(self, connection: apsw.Connection, frames: Sequence[Frame]) -> None:
        """
        Give the database the room again that its log takes it to have, if it has all its pages.

        What was taken ahead need not have been durable when the power failed. SQLite takes a
        database that is much shorter than its log says for a damaged one.

        :param frames: what the log has.
        :raise apsw.FullError: there is not so much.
        :raise OSError: the disk fails.
        """
        wanted, size = frames[-1].pages * PAGE_SIZE, os.path.getsize(self._path)
        pages = int(ask(connection, "PRAGMA page_count")[0][0])
        missing = {*range(size // PAGE_SIZE + 1, pages + 1)} - {it.page for it in frames}
        if size < wanted and not missing:
            self._database.lengthen(connection, wanted)

    def moved(self) -> None:
        """Note that the database may have been made as short as it can be."""
        self._length = 0

    def keep_reserve(self) -> None:
        """
        See to it that the reserve is there.

        :raise apsw.FullError: there is no room for it.
        """
        if self._has_reserve or not self._path:
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
            size = os.fstat(descriptor).st_size
            missing = max(0, RESERVE - size)
            there = os.fstatvfs(descriptor)
            if there.f_bavail * there.f_frsize < missing:
                raise OSError(errno.ENOSPC, "no room for the reserve")
            take_room(descriptor, size, missing)
        finally:
            os.close(descriptor)

    def give_up_reserve(self) -> bool:
        """
        Let others have it.

        :return: whether there was any.
        """
        self._has_reserve = False
        with suppress(OSError):
            if self._path and os.path.getsize(self._reserve):
                os.truncate(self._reserve, 0)
                return True
        return False
