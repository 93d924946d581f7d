"""The least that each step takes: files, written to the disk, and bare requests."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

from .calls import Worker
from .data import PIECE, pieces
from .trash import Trash
from .workloads import Workload


class Floor(NamedTuple):
    """
    The least that a step takes, in seconds.

    :ivar files: to write, or read, the bytes.
    :ivar requests: to have them sent, or received; None if nothing is.
    """

    files: float
    requests: float | None = None

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.files + (self.requests or 0)


def measure(step: str, client: Worker, files: Path, workload: Workload, trash: Trash) -> Floor:
    """
    Do the bare work of a step.

    A put writes everything twice, here and on the server, and sends it. A sync receives and
    writes it; what it reads is in the server's cache. A get only reads.

    :param client: a bare one, which is connected.
    :param files: the files of the workload.
    :param trash: where the files go that are written.
    """
    count, size = workload.number, workload.size
    if step == "get":
        return Floor(_read(files))
    copies = [files.with_name(f"floor{number}") for number in range(2 if step == "put" else 1)]
    written = sum(_write(copy, workload) for copy in copies)
    for copy in copies:
        # Not before all are there: a second one would be given the memory of the first.
        trash.throw(copy)
    requests: float = client.call("send" if step == "put" else "receive", count, size)
    return Floor(written, requests)


def _write(folder: Path, workload: Workload) -> float:
    folder.mkdir()
    piece = os.urandom(PIECE)
    began = time.perf_counter()
    for number in range(workload.number):
        with open(folder / str(number), "wb", buffering=0) as file:
            for part in pieces(workload.size, piece):
                file.write(part)
            os.fsync(file.fileno())
    return time.perf_counter() - began


def _read(folder: Path) -> float:
    began = time.perf_counter()
    for entry in os.scandir(folder):
        with open(entry.path, "rb", buffering=0) as file:
            while file.read(PIECE):
                pass
    return time.perf_counter() - began
