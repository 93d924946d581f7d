"""The file beside a blob that has its flags."""

from __future__ import annotations

from ..errors import InvalidFlagsError
from ..model import Flags
from ..protocol import read_flags
from . import disk
from .checking import mark_of
from .index import bits


def look_at_flags(path: str) -> tuple[int, int]:
    """Read the flags in a file as bits, and what identifies the file; 0 if there is none."""
    # The file first: what is written to it later will show.
    status = disk.status_of(path)
    return (bits(read_flags_file(path)), mark_of(status)) if status else (0, 0)


def read_flags_file(path: str) -> list[Flags]:
    """Read the flags in a file; none if it is absent or damaged."""
    try:
        with open(path, "rb") as file:
            return read_flags(file.read())
    except (FileNotFoundError, NotADirectoryError, InvalidFlagsError):
        return []
