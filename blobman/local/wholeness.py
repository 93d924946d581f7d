"""Whether a database file is as long as it says, before anything is read from it."""

from __future__ import annotations

from pathlib import Path

import apsw

from ..errors import StoreError
from .connection import pragma

__all__ = ["check_payload_file"]


def check_payload_file(connection: apsw.Connection, path: Path) -> None:
    """
    Compare the length of a file that never changes with what its header says.

    SQLite itself takes the rest of a page that was cut for zeros, and does not verify it.

    :raise StoreError: it is shorter, or longer.
    """
    if path.stat().st_size != _said_length(connection):
        raise StoreError(f"{path} is damaged: it is not as long as it was")


def _said_length(connection: apsw.Connection) -> int:
    pages, size = pragma(connection, "page_count"), pragma(connection, "page_size")
    assert isinstance(pages, int) and isinstance(size, int)
    return pages * size
