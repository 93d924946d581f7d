"""Where a catalogue is: the paths of its files, and whether they still lead to it."""

from __future__ import annotations

import fcntl
import os
import time

from .... import disk
from ....errors import StoreError
from ..interface import UnavailableError

BACKUP = "backup.json"
"""The file that makes a folder that of a backup's catalogue."""


_PAUSE = 0.02
"""Seconds between two attempts to take the lock."""


class CatalogueFolder:
    """
    Where a catalogue is, as it was found when it was opened.

    :param folder: its folder; empty for memory.
    :ivar path: of the database; empty for memory.
    :ivar log: the path of its log.
    """

    def __init__(self, folder: str) -> None:
        self.folder = os.path.abspath(folder) if folder else ""
        self.path = self.join("catalogue.sqlite")
        self.log = self.path and self.path + "-wal"
        self._files: tuple[os.stat_result, os.stat_result] | None = None

    def join(self, name: str) -> str:
        """Give the path of a file in the folder; empty for memory."""
        return os.path.join(self.folder, name) if self.folder else ""

    def refuse_backup(self) -> None:
        """
        See that nothing is going to change in a backup.

        :raise StoreError: it is the catalogue of one.
        """
        if self.folder and os.path.lexists(self.join(BACKUP)):
            data = os.path.dirname(self.folder)
            raise StoreError(
                f"{data} is a backup, which stays as it is: restore it to a new folder"
            )

    def remember(self) -> None:
        """Note which files the database and its log are; SQLite has both open."""
        self._files = self._find()

    def forget(self) -> None:
        """Take no notice of those files any more."""
        self._files = None

    def _find(self) -> tuple[os.stat_result, os.stat_result]:
        return os.stat(self.path), os.stat(self.log)

    def check(self) -> None:
        """
        See whether they still are there: not moved, replaced or unmounted.

        :raise UnavailableError: they are not.
        """
        if self._files is None:
            return
        try:
            found = self._find()
        except OSError as error:
            raise UnavailableError(f"the data folder is gone: {error.strerror}") from error
        if not all(map(os.path.samestat, found, self._files)):
            raise UnavailableError("the data folder, or a file in it, has been replaced")


def take_lock(folder: CatalogueFolder, patience: float = 0.0) -> int:
    """
    Be the only one who has a catalogue.

    :param patience: the seconds to wait for one who may have it for a moment only.
    :return: the descriptor to close in the end.
    :raise StoreError: another process has it.
    """
    lock = disk.open_lock(folder.join("lock"))
    end = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except OSError as error:
            if time.monotonic() >= end:
                os.close(lock)
                raise StoreError("another server has the data folder open") from error
        time.sleep(_PAUSE)
