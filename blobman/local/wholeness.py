"""Whether a database is as long as it says, before anything is read from it."""

from __future__ import annotations

from pathlib import Path

import apsw

from ..errors import StoreError
from .connection import pragma
from .wal import LogFile

__all__ = ["check_database", "check_payload_file", "length_of"]


def length_of(connection: apsw.Connection) -> tuple[int, int]:
    """Give how many pages a database says that it has, and the bytes of each."""
    pages, size = pragma(connection, "page_count"), pragma(connection, "page_size")
    assert isinstance(pages, int) and isinstance(size, int)
    return pages, size


def check_payload_file(connection: apsw.Connection, path: Path) -> None:
    """
    Compare the length of a file that never changes with what its header says.

    SQLite itself takes the rest of a page that was cut for zeros, and does not verify it.

    :raise StoreError: it is shorter, or longer.
    """
    pages, size = length_of(connection)
    if path.stat().st_size != pages * size:
        raise StoreError(f"{path} is damaged: it is not as long as it was")


def check_database(
    connection: apsw.Connection, path: Path, log: LogFile | None, frames: int
) -> None:
    """
    See whether each page of a store's database is there, in the file or in its log.

    :param frames: how many frames of the log count.
    :raise StoreError: one is missing, or was cut.
    """
    pages, size = length_of(connection)
    whole = path.stat().st_size // size
    if whole >= pages:
        return
    missing = set(range(whole + 1, pages + 1)) if pages - whole <= frames else {0}
    if log is None or not missing.issubset(log.pages(frames, size)):
        raise StoreError(f"{path} is damaged: it is shorter than it was")
