"""
How much of the log beside a catalogue has been moved to the database.

When SQLite opens a log that is damaged, it takes what comes before. If more had been moved to the
database, that is older than the database. So it is recorded how many frames of which log have been
moved.
"""

from __future__ import annotations

from contextlib import closing

from ....sqlite import LogFile

_MASK = 0xFFFFFFFF


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
