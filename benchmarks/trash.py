"""
What was measured already, and is in nobody's way.

It is not removed between two measurements: ext4 does not use an inode again within a minute of its
removal, and goes through all of those whenever it makes a file near them. After 1,000 removals,
making a file can take ten times as long, whoever makes it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

ROOM = 8_000_000_000
"""Bytes that may pile up."""


class Trash:
    """
    Takes folders that are not needed any more.

    :param folder: on the same file system; it is made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._folder.mkdir()
        self._number = 0
        self._size = 0

    def throw(self, path: Path) -> None:
        """Take a folder away; remove it, and all others, only when there is too much."""
        self._number += 1
        gone = path.rename(self._folder / str(self._number))
        self._size += sum(file.stat().st_size for file in gone.rglob("*") if file.is_file())
        if self._size > ROOM:
            shutil.rmtree(self._folder)
            self._folder.mkdir()
            self._size = 0
