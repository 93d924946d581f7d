"""Whether a database is there, and as long as it says, before anything is read from it."""

from __future__ import annotations

from pathlib import Path

import apsw

from ..errors import StoreError
from ..sqlite import LogFile, log_of, pragma
from . import strays
from .acknowledged import was_used

__all__ = [
    "check_database",
    "check_not_lost",
    "check_payload_file",
    "check_together",
    "length_of",
]


_LEAST = 512
"""Bytes of the shortest database: a shorter one is to SQLite a new one."""


def check_not_lost(path: Path, folder: Path) -> None:
    """
    See whether a database that is missing, or too short to be one, has never been there.

    :param folder: that of the payload files.
    :raise StoreError: it was.
    """
    log, lock = log_of(path), path.with_suffix(".lock")
    if strays.payload_names(folder):
        what = f"files of its blobs are in {folder}"
    elif log.exists() and log.stat().st_size:
        what = f"its log {log} is there"
    elif was_used(lock):
        what = f"{lock} says that it was used"
    elif path.exists() and path.stat().st_size:
        what = "a part of it is there"
    else:
        return
    # Looked at last: meanwhile another process may have made it.
    size = path.stat().st_size if path.exists() else None
    if size is None or size < _LEAST:
        state = "missing" if size is None else "cut" if size else "empty"
        raise StoreError(
            f"{path} is {state}, though {what}. Put it back; or, to begin anew, move all "
            f"{path.stem}.* files away"
        )


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
    if log is None or not missing.issubset(it.page for it in log.read_frames(frames, size)):
        raise StoreError(f"{path} is damaged: it is shorter than it was")


def check_together(connection: apsw.Connection, path: Path) -> None:
    """
    See whether a database and its log belong together.

    A log has the pages that were changed, and none of the others: over another file, such as an
    older one that was put back without its log, they make up records that contradict each other.

    :raise StoreError: they do.
    """
    if not connection.table_exists("main", "blobs"):
        return
    # Looks at the records, but not at what may be large: at no payload.
    is_sound = pragma(connection, "integrity_check(blobs)") == "ok"
    if not is_sound or pragma(connection, "foreign_key_check(blobs)") is not None:
        raise StoreError(
            f"{path} and {log_of(path).name} do not belong together, or are damaged: put back the "
            "one that was there"
        )
