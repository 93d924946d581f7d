"""
What was measured already, and is in nobody's way.

Many files are not removed between two measurements: ext4 does not use an inode again within some
minutes of its removal, and goes through all of those whenever it makes a file near them. After
1,000 removals, making a file can take ten times as long, whoever makes it. A few large files are
removed, so that the memory that they take in the cache can be used again.
"""

from __future__ import annotations

import shutil
from pathlib import Path

MANY = 100
"""Files that are not removed at once."""


class Trash:
    """
    Takes folders that are not needed any more.

    :param folder: on the same file system; it is made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._folder.mkdir()
        self._number = 0

    def throw(self, path: Path) -> None:
        """Take a folder away; remove it, if it has few files."""
        if sum(1 for file in path.rglob("*") if file.is_file()) < MANY:
            shutil.rmtree(path)
        else:
            self._number += 1
            path.rename(self._folder / str(self._number))
