"""The figures as a picture. Needs matplotlib, which nothing else does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .figures import STEPS, Figures
from .targets import MS, Point
from .workloads import Workload

_COLOURS = {"put": "#3465a4", "sync": "#73a946", "get": "#e9a03b"}


def draw(figures: Sequence[Figures], path: str) -> None:
    """
    Draw the speed of each step as a share of its floor's.

    :param path: of a picture, PNG or SVG by its ending.
    :raise ImportError: there is no matplotlib.
    """
    from matplotlib.figure import Figure

    transports = sorted({one.tls for one in figures})
    picture = Figure(figsize=(8, 3 * len(transports)), layout="constrained")
    axes = picture.subplots(len(transports), 1, squeeze=False, sharex=True, sharey=True)
    for tls, (one,) in zip(transports, axes, strict=True):
        _draw_bars(one, [it for it in figures if it.tls is tls])
        one.set_ylabel(f"speed over {'TLS' if tls else 'TCP'},\nthat of the floor is 1")
    axes[0][0].legend(loc="upper left", ncols=len(STEPS) + 1)
    picture.savefig(path)


def _draw_bars(axes: Any, figures: Sequence[Figures]) -> None:
    workloads = list(dict.fromkeys(one.workload for one in figures))
    width = 0.8 / len(STEPS)
    for number, step in enumerate(STEPS):
        shares = [one.of_floor for one in figures if one.step == step]
        places = [place + (number - 1) * width for place in range(len(workloads))]
        axes.bar(places, shares, width, label=step, color=_COLOURS[step])
    _mark_peer(axes, figures, workloads, width)
    axes.axhline(1, color="black", linewidth=0.8)
    labels = [str(workload).replace(": ", "\n") for workload in workloads]
    axes.set_xticks(range(len(workloads)), labels, fontsize=8)


def _mark_peer(
    axes: Any, figures: Sequence[Figures], workloads: list[Workload], width: float
) -> None:
    marks = [
        (workloads.index(one.workload) + (STEPS.index(one.step) - 1) * width, one)
        for one in figures
        if one.peer is not None
    ]
    if marks:
        places, measured = zip(*marks, strict=True)
        shares = [one.floor.seconds / one.peer for one in measured]
        axes.scatter(places, shares, 25, "black", "D", label="rclone crypt", zorder=3)


def draw_changes(points: Sequence[Point], path: str) -> None:
    """
    Draw what a sync that finds nothing costs, against the number of blobs.

    :param path: as for :func:`draw`.
    :raise ImportError: there is no matplotlib.
    """
    from matplotlib.figure import Figure

    picture = Figure(figsize=(8, 4), layout="constrained")
    axes = picture.subplots()
    counts = [point.blobs for point in points]
    lines = {
        "all is compared": ("full", "#e9a03b"),
        "the server tells what has changed": ("nothing", "#3465a4"),
        "a bare request": ("bare", "black"),
    }
    for label, (field, colour) in lines.items():
        times = [getattr(point, field) * MS for point in points]
        axes.plot(counts, times, marker="o", label=label, color=colour)
    axes.set(xscale="log", yscale="log", xlabel="blobs", ylabel="ms for a sync that finds nothing")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.legend(loc="upper left")
    picture.savefig(path)
