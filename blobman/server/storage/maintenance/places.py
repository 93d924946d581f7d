"""Where things are in a data folder, and in a backup of one."""

from __future__ import annotations

import os

from ..backends import OWN_FOLDER
from ..catalogue.folder import BACKUP

__all__ = ["CATALOGUE", "LAST_NUMBER", "LOG", "LOG_MOVED", "MANIFEST", "OWN_FOLDER", "lies_within"]

CATALOGUE = os.path.join(OWN_FOLDER, "catalogue.sqlite")
LOG = CATALOGUE + "-wal"
LOG_MOVED = os.path.join(OWN_FOLDER, "log-moved")
LAST_NUMBER = os.path.join(OWN_FOLDER, "last-number")
MANIFEST = os.path.join(OWN_FOLDER, BACKUP)


def lies_within(path: str, folder: str) -> bool:
    """Tell whether a path is a folder, or in it."""
    path, folder = os.path.realpath(path), os.path.realpath(folder)
    return os.path.commonpath((path, folder)) == folder
