"""Where a catalogue is: the paths of its files, and whether they still lead to it."""

from __future__ import annotations

import fcntl
import os

from ....errors import StoreError
from ... import disk
from ..interface import UnavailableError

BACKUP = "backup.json"
"""The file that makes a folder that of a backup's catalogue."""


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
        self._is_at: tuple[int, int] | None = None

    def join(self, name: str) -> str:
        """Give the path of a file in the folder; empty for memory."""
        return os.path.join(self.folder, name) if self.folder else ""

    def refuse_backup(self) -> None:
        """
        See that nothing is going to change in a backup.

        :raise StoreError: it is the catalogue of one.
        """
        if self.folder and os.path.lexists(self.join(BACKUP)):
            raise StoreError("that is a backup, which stays as it is: restore it to a new folder")

    def remember(self) -> None:
        """Note which file it is."""
        if self.path:
            status = os.stat(self.path)
            self._is_at = status.st_dev, status.st_ino

    def check(self) -> None:
        """
        See whether it still is there: not moved, replaced or unmounted.

        :raise UnavailableError: it is not.
        """
        if self._is_at is None:
            return
        try:
            status = os.stat(self.path)
        except OSError as error:
            raise UnavailableError(f"the data folder is gone: {error.strerror}") from error
        if (status.st_dev, status.st_ino) != self._is_at:
            raise UnavailableError("the data folder has been replaced by another one")


def take_lock(folder: CatalogueFolder) -> int:
    """
    Be the only one who has a catalogue.

    :return: the descriptor to close in the end.
    :raise StoreError: another process has it.
    """
    lock = disk.open_lock(folder.join("lock"))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise StoreError("another server has the data folder open") from error
    return lock
