"""
Memory that the machine has ready.

A virtual machine can give memory that is free back to its host, and ask for it again when it is
needed. That takes longer than writing to it does, many times so where the host is a virtual machine
as well: whoever wrote first after a while would pay for it. So before anything is measured, as much
memory as it will need is asked for, by files that are written and removed.
"""

from __future__ import annotations

from pathlib import Path

from .data import PIECE, pieces

SPARE = 256 * 1024 * 1024
"""Bytes for what a step needs besides the contents of its files."""


MOST = 4 * 1024 * 1024 * 1024
"""Bytes that are asked for at most."""


def make_ready(folder: Path, size: int) -> None:
    """Have the system ask for so many bytes of memory, and some more, and set them free."""
    path = folder / "memory"
    with open(path, "wb", buffering=0) as file:
        for part in pieces(min(size + SPARE, MOST), bytes(PIECE)):
            file.write(part)
    path.unlink()
