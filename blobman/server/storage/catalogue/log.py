"""
The log beside a catalogue, for the one who writes it: :class:`WriteAheadLog`.

When SQLite opens a log that is damaged, it takes what comes before. If more had been moved to the
database, that is older than the database. So it is recorded how many frames of which log have been
moved.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

import apsw

from ....sqlite import Frame, LogFile, ask, transaction
from ..interface import DamagedError
from .connection import PAGE_SIZE
from .folder import CatalogueFolder
from .marker import Marker
from .pairing import first_transaction

_MASK = 0xFFFFFFFF


class WriteAheadLog:
    """
    A log. Connections that it is called with are those of the one who writes.

    :param folder: where the catalogue is; memory has no log.
    :ivar size: bytes that have been written to it since it was last moved.
    """

    def __init__(self, folder: CatalogueFolder) -> None:
        self._path = folder.log
        self._moved = Marker(folder.join("log-moved"))
        self._mark = 0
        self._file: LogFile | None = None
        self._has_begun = False
        self._may_begin = True
        self.size = 0

    def open(self) -> None:
        """
        Read how much has been moved out of it.

        :raise OSError: that can't be read.
        """
        self._mark = self._moved.open()

    def check(self, connection: apsw.Connection) -> list[Frame]:
        """
        See that it has all that has been moved out of it.

        :return: what is in it.
        :raise DamagedError: it has not.
        :raise OSError: it can't be read.
        """
        frames = ask(connection, "PRAGMA wal_checkpoint(NOOP)")[0][1]
        if frames < frames_moved(self._mark, read_salt(self._path)):
            raise DamagedError("the catalogue's log is damaged: blobman server check --repair")
        if frames <= 0:
            return []
        with closing(LogFile(self._path)) as file:
            return list(file.read_frames(frames, PAGE_SIZE))

    def close(self) -> None:
        """Take no notice of it any more. May be called twice."""
        self._moved.close()
        self._has_begun = False
        if self._file is not None:
            self._file.close()
            self._file = None

    def remember(self) -> None:
        """Note which file it is; SQLite has it open."""
        self._file = LogFile(self._path)

    def follow(self, connection: apsw.Connection) -> None:
        """Take notice of what a new connection writes to it."""
        connection.set_wal_hook(self._heed)
        self._may_begin = True

    def _heed(self, connection: apsw.Connection, name: str, pages: int) -> int:
        self.size = pages * PAGE_SIZE
        self._has_begun = True
        self._may_begin = False
        return apsw.SQLITE_OK

    def _check_header(self) -> None:
        """
        See whether it, whatever it is called now, begins as a log.

        :raise DamagedError: it does not: what is written to it would never be found.
        :raise OSError: it can't be read.
        """
        file = self._file
        if file is None or (not self._has_begun and file.is_empty()):
            return
        if file.read_salts() is None:
            raise DamagedError("the catalogue's log was damaged while the server had it open")

    @contextmanager
    def transaction(self, connection: apsw.Connection) -> Iterator[None]:
        """
        Write in the block, all of it or nothing.

        :raise DamagedError: it has been damaged.
        :raise OSError: it can't be read.
        :raise apsw.Error: the transaction could not begin or not be committed.
        """
        with (first_transaction if self._may_begin else transaction)(connection):
            self._check_header()
            yield

    def move(self, connection: apsw.Connection) -> None:
        """
        Move what is in it to its place in the database, as far as that is possible now.

        :raise DamagedError: it has been damaged.
        :raise OSError: it can't be read.
        :raise apsw.Error: the database can't be written.
        """
        self._check_header()
        salt = read_salt(self._path)
        _, frames, moved = ask(connection, "PRAGMA wal_checkpoint(PASSIVE)")[0]
        # If all has been moved, what is written next begins the log anew.
        self._may_begin |= frames == moved
        self.size = 0
        # Another process may have begun the log anew.
        if salt is not None and salt == read_salt(self._path):
            self._moved.write(mark_of(salt, max(moved, 0)))


def read_salt(path: str) -> int | None:
    """
    Read a number that is drawn each time a log is begun anew.

    :return: 32 bits; None if there is no log.
    :raise OSError: it can't be read.
    """
    try:
        with closing(LogFile(path)) as log:
            salts = log.read_unverified_salts()
    except FileNotFoundError:
        return None
    return salts and salts.second


def mark_of(salt: int, frames: int) -> int:
    """Give the number by which it is recorded how many frames of a log have been moved."""
    return salt << 32 | frames


def frames_moved(mark: int, salt: int | None) -> int:
    """Tell from that number how many frames of a log have been moved; 0 if it is another log's."""
    return mark & _MASK if mark >> 32 == salt else 0
