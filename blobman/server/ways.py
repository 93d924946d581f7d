"""
The way to a file: folders that are made as needed, and durable with what they hold.

An entry is durable once its folder has been synced, and so on up to the root. A thread
may find a folder that another has just made and not yet synced, or failed to sync: it has to sync
it too before it can promise anything.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from . import disk


class Ways:
    """
    Makes folders below a root, and keeps track of those that are not durable yet.

    :param root: a folder that is there and durable.
    :ivar are_trusted: whether folders that are found are durable, if it is not known better.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._lock = threading.Lock()
        # Folders that have got an entry, each with the number of the last such change.
        self._unsynced: dict[str, int] = {}
        self._changes = 0
        self.are_trusted = True

    @property
    def are_durable(self) -> bool:
        """Whether nothing has been made that is not durable."""
        return self.are_trusted and not self._unsynced

    @contextmanager
    def made(self, folders: Iterable[str]) -> Iterator[None]:
        """
        Make folders; at the end of the block, make them and their entries durable.

        A folder is synced once, however many of the paths lead through it.
        """
        wanted = set(folders)
        for folder in wanted:
            self.make(folder)
        yield
        for folder in wanted.union(*map(self._pending, wanted)):
            self._sync(folder)

    def make(self, folder: str, heirs: disk.Heirs | None = None) -> bool:
        """
        Make a folder. It becomes durable with the next that is to be durable, and its like.

        :return: whether it was not there, so that it is empty.
        """
        with self._lock:
            try:
                changed = disk.make_folders(folder, heirs)
            except BaseException:
                self._note(self._above(folder))
                raise
            self._note(changed)
        return changed[-1:] == [os.path.dirname(folder)]

    def _note(self, changed: list[str]) -> None:
        self._changes += 1
        for folder in changed:
            self._unsynced[folder] = self._changes

    def sync_up(self, folders: Iterable[str]) -> None:
        """Make folders and all above them durable, as far as they are there."""
        for path in {it for folder in folders for it in (folder, *self._above(folder))}:
            with suppress(FileNotFoundError):
                self._sync(path)

    @contextmanager
    def all_synced(self) -> Iterator[None]:
        """Take notice that the block makes durable all that was there at its beginning."""
        with self._lock:
            before = dict(self._unsynced)
        yield
        self._forget(before)
        self.are_trusted = True

    def _sync(self, folder: str) -> None:
        change = self._unsynced.get(folder, 0)
        disk.sync_folder(folder)
        self._forget({folder: change})

    def _forget(self, synced: dict[str, int]) -> None:
        with self._lock:
            for folder, change in synced.items():
                # Unless there was another entry since.
                if self._unsynced.get(folder) == change:
                    del self._unsynced[folder]

    def _above(self, folder: str) -> list[str]:
        above = []
        while len(folder) > len(self._root):
            folder = os.path.dirname(folder)
            above.append(folder)
        return above

    def _pending(self, folder: str) -> list[str]:
        """List the folders above this one that have an entry which may not be durable."""
        above = self._above(folder)
        return [it for it in above if it in self._unsynced] if self.are_trusted else above
