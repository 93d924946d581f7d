"""How many blobs, of which size."""

from __future__ import annotations

import re
from typing import NamedTuple

USER = "alice"
"""Whose blobs they are."""

KB, MB, GB = 1_000, 1_000_000, 1_000_000_000


class Workload(NamedTuple):
    """
    Blobs of one size.

    :ivar number: how many.
    :ivar size: of each, in bytes.
    """

    name: str
    number: int
    size: int

    @property
    def total(self) -> int:
        """All bytes."""
        return self.number * self.size

    def __str__(self) -> str:
        return f"{self.name}: {self.number:,} x {amount(self.size)}"


STANDARD = [
    Workload("W1", 1000, 10 * KB),
    Workload("W2", 100, 100 * KB),
    Workload("W3", 10, MB),
    Workload("W4", 1, 10 * MB),
    Workload("W5", 1, 100 * MB),
    Workload("W6", 1, GB),
]

GROWTH = [
    *(Workload(f"{count}x{KB}", count, KB) for count in (100, 300, 1000, 3000, 10_000)),
    *(Workload(f"1x{KB * 10**power}", 1, KB * 10**power) for power in range(7)),
]
"""What shows whether the cost of a blob depends on their number, and that of a byte on the size."""

_COUNT_AND_SIZE = re.compile(r"(\d+)x(\d+)")


def amount(size: int) -> str:
    """Write a number of bytes for people."""
    for unit, name in ((GB, "GB"), (MB, "MB"), (KB, "kB")):
        if size >= unit:
            return f"{size / unit:g} {name}"
    return f"{size} B"


def choose(names: str, among: list[Workload]) -> list[Workload]:
    """
    Find workloads by their names; ``20x1000`` makes one of 20 blobs of 1,000 bytes.

    :param names: separated by commas.
    :raise ValueError: there is none of that name.
    """
    known = {workload.name: workload for workload in among}
    return [known.get(name) or _make(name) for name in names.split(",")]


def _make(name: str) -> Workload:
    match = _COUNT_AND_SIZE.fullmatch(name)
    if match is None:
        raise ValueError(f"there is no workload {name!r}")
    return Workload(name, int(match[1]), int(match[2]))
