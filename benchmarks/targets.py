"""What following changes costs: the figures, and what they have to reach."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from .table import short, write_rows

MIB = 1 << 20
MS = 1000
HOUR = 3600


class Point(NamedTuple):
    """
    What a ``sync`` that finds nothing costs, with a number of blobs.

    :ivar blobs: how many blobs there are, here and on the server.
    :ivar bare: seconds of a bare request.
    :ivar nothing: seconds of a sync.
    :ivar full: seconds of a sync that compares everything.
    :ivar server: seconds of CPU of the server, for a sync.
    :ivar sent: bytes to the server, with their headers.
    :ivar received: bytes from the server.
    """

    blobs: int
    bare: float
    nothing: float
    full: float
    server: float
    sent: int
    received: int


class Figure(NamedTuple):
    """
    One figure.

    :ivar most: what it may be at most; None if that is not said.
    """

    what: str
    value: float
    unit: str
    most: float | None = None

    @property
    def is_reached(self) -> bool:
        """Whether it is not more than it may be."""
        return self.most is None or self.value <= self.most


class Measured(NamedTuple):
    """All that was measured."""

    points: list[Point]
    figures: list[Figure]

    def as_json(self) -> dict[str, Any]:
        """All of it, with plain types."""
        return {
            "points": [point._asdict() for point in self.points],
            "figures": [{**it._asdict(), "is_reached": it.is_reached} for it in self.figures],
        }


def write_points(points: Sequence[Point]) -> str:
    """Write a table of what a sync costs that finds nothing."""
    titles = ("blobs", "sync ms", "bare ms", "full ms", "server ms", "sent", "received")
    rows = [
        (
            f"{point.blobs:,}",
            *(short(it * MS) for it in (point.nothing, point.bare, point.full, point.server)),
            f"{point.sent:,}",
            f"{point.received:,}",
        )
        for point in points
    ]
    return write_rows(titles, rows, left=0)


def write_figures(figures: Sequence[Figure]) -> str:
    """Write a table of figures, and what they may be."""
    rows = [
        (
            it.what,
            f"{short(it.value)} {it.unit}",
            "" if it.most is None else f"{it.most:g}" + ("" if it.is_reached else " (missed)"),
        )
        for it in figures
    ]
    return write_rows(("what", "measured", "at most"), rows, left=1)


def of_points(points: Sequence[Point]) -> list[Figure]:
    """Tell what a sync that finds nothing has to reach."""
    figures = []
    for point in points:
        where = f"sync with nothing new, {point.blobs:,} blobs"
        figures += [
            Figure(f"{where}: time", point.nothing / point.bare, "bare requests", 2),
            Figure(f"{where}: sent", point.sent, "bytes", 999),
            Figure(f"{where}: received", point.received, "bytes", 999),
        ]
    return figures
