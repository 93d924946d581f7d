"""The files that blobs are made of."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

from .workloads import Workload

PIECE = 1 << 20
"""Bytes that are written at a time."""


def make_files(folder: Path, workload: Workload) -> None:
    """
    Write a file for each blob, of bytes that can't be compressed, named like a new blob.

    Ciphers and disks don't look at them, so that a piece may occur again in a large file.
    """
    folder.mkdir()
    piece = os.urandom(PIECE)
    for _ in range(workload.number):
        with open(folder / uuid4().hex, "wb") as file:
            file.write(os.urandom(min(16, workload.size)))
            for part in pieces(workload.size - min(16, workload.size), piece):
                file.write(part)


def pieces(size: int, piece: bytes) -> Iterator[memoryview]:
    """Give the same piece again and again, until that is so many bytes."""
    view = memoryview(piece)
    for start in range(0, size, len(piece)):
        yield view[: size - start]
