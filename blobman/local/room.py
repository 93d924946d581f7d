"""
Room on the disk: taken before it is needed, so that a full disk can be cleared.

Two things are there in time. The database is as long as it is going to be before a transaction is
committed to its log; so the log can always be brought into it, and begun anew. And the lock's file
is larger than it has to be: a reserve, which makes way for deletions, and without which nothing
else is stored.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import apsw

from ..sqlite import Preallocator, take_room
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
        self._database = Preallocator(path)
        self._lock = path.with_suffix(".lock")
        self._has_reserve = False

    def open(self) -> None:
        """Be ready to take some; before each connection to the database is opened."""
        self._database.open()

    def close(self) -> None:
        """Take no more; after the last connection is closed."""
        self._database.close()

    def take_for(self, connection: apsw.Connection, there: int) -> None:
        """
        Give the database the room that it is going to need; before a commit.

        :param there: how many bytes it has.
        :raise apsw.FullError: there is no more.
        :raise OSError: the disk fails.
        """
        pages, size = length_of(connection)
        if pages * size > there:
            self._database.lengthen(connection, pages * size + _AHEAD)

    def take_back(self, connection: apsw.Connection, pages: int) -> None:
        """
        Give the database the room again that its log takes it to have; it has all its pages.

        What was taken ahead need not have been durable when the power failed. SQLite takes a
        database that is much shorter than its log says for a damaged one, and leaves the log.

        :param pages: of the file, once the log has been brought into it.
        :raise apsw.FullError: there is not so much.
        :raise OSError: the disk fails.
        """
        self._database.lengthen(connection, pages * length_of(connection)[1])

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
                take_room(file.fileno(), _NOTE, size)
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
