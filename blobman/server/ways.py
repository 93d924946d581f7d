"""
The way to a file: folders that are made as needed, and durable with what they hold.

An entry is durable once its folder has been synced, and so on up to the root. A thread
may find a folder that another has just made and not yet synced: it has to sync it too before
it can promise anything.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from . import disk


class Ways:
    """
    Makes folders below a root, and keeps track of those that are not durable yet.

    :param root: a folder that is there and durable.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._unsynced: Counter[str] = Counter()

    @contextmanager
    def made(self, folders: Iterable[str]) -> Iterator[None]:
        """
        Make folders; at the end of the block, make them and their entries durable.

        A folder is synced once, however many of the paths lead through it.
        """
        wanted = set(folders)
        changed = [parent for folder in wanted for parent in self._make(folder)]
        try:
            yield
            for folder in wanted.union(*(self._pending(folder) for folder in wanted)):
                disk.sync_folder(folder)
        finally:
            with self._lock:
                self._unsynced.subtract(changed)
                self._unsynced += Counter()  # drops those at 0

    def _make(self, folder: str) -> list[str]:
        with self._lock:
            changed = disk.make_folders(folder)
            self._unsynced.update(changed)
        return changed

    def _pending(self, folder: str) -> list[str]:
        """List the folders above this one that have an entry which may not be durable."""
        pending = []
        while len(folder) > len(self._root):
            folder = os.path.dirname(folder)
            if self._unsynced[folder] > 0:
                pending.append(folder)
        return pending
