"""The figures as a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from .figures import Figures

MIB = 1 << 20


class _Column(NamedTuple):
    title: str
    write: Callable[[Figures], str]


_COLUMNS = [
    _Column("workload", lambda it: str(it.workload)),
    _Column("over", lambda it: "TLS" if it.tls else "TCP"),
    _Column("step", lambda it: it.step),
    _Column("seconds", lambda it: short(it.seconds)),
    _Column("MB/s", lambda it: short(it.bytes_per_second / 1e6)),
    _Column("blobs/s", lambda it: short(it.blobs_per_second)),
    _Column("floor s", lambda it: short(it.floor.seconds)),
    _Column("of floor", lambda it: f"{it.of_floor:.2f}"),
    _Column("of req.", lambda it: "" if it.of_requests is None else f"{it.of_requests:.2f}"),
    _Column("rclone s", lambda it: "" if it.peer is None else short(it.peer)),
    _Column("client MiB", lambda it: short(it.client.memory / MIB)),
    _Column("CPU s", lambda it: short(it.client.cpu)),
    _Column("pause ms", lambda it: short(it.client.pause * 1000)),
    _Column("server MiB", lambda it: short(it.server.memory / MIB)),
    _Column("CPU s", lambda it: short(it.server.cpu)),
    _Column("pause ms", lambda it: short(it.server.pause * 1000)),
    _Column("idle ms", lambda it: short(it.stall * 1000)),
]

LEGEND = (
    "MiB: peak memory above idle; pause: the reactor's longest; idle: that of a process that does\n"
    "nothing meanwhile; floor: files and bare requests; of floor: our speed, where that of the\n"
    "floor is 1; of req.: where that of its requests is 1."
)


def short(number: float) -> str:
    """Write about three digits."""
    if number >= 100:
        return f"{number:,.0f}"
    return f"{number:.1f}" if number >= 10 else f"{number:.2f}"


def write_table(figures: Sequence[Figures]) -> str:
    """Write a table for a terminal, which is Markdown as well."""
    with_peer = any(one.peer is not None for one in figures)
    columns = [one for one in _COLUMNS if with_peer or one.title != "rclone s"]
    rows = [[column.write(one) for column in columns] for one in figures]
    return write_rows([column.title for column in columns], rows, left=3)


def write_rows(titles: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> str:
    """
    Write a table of texts.

    :param left: how many columns have what they say at their left; the others are of numbers.
    """
    widths = [max(len(row[index]) for row in (titles, *rows)) for index in range(len(titles))]
    rule = ["-" * width for width in widths]
    return "\n".join(_line(row, widths, left) for row in (titles, rule, *rows))


def _line(cells: Sequence[str], widths: Sequence[int], left: int) -> str:
    padded = [
        cell.rjust(width) if index >= left else cell.ljust(width)
        for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "| " + " | ".join(padded) + " |"
