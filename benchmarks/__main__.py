"""The command: ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from twisted import __version__ as twisted_version

from . import rclone
from .bench import Bench
from .changes import COUNTS, Changes
from .figures import Figures
from .plot import draw, draw_changes
from .table import LEGEND, write_table
from .targets import Measured, write_figures, write_points
from .waiting import CLIENTS, QUIET, Waiting
from .workloads import GROWTH, STANDARD, Workload, choose


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure blobman, next to the least that its work takes.",
    )
    parser.add_argument(
        "--only", metavar="NAMES", help="workloads, such as W1,W5, or 20x1000: 20 of 1,000 bytes"
    )
    parser.add_argument(
        "--growth", action="store_true", help="from 100 blobs to 10,000, and from 1 kB to 1 GB"
    )
    parser.add_argument(
        "--runs", type=int, default=1, metavar="N", help="do all N times, and take the medians"
    )
    parser.add_argument(
        "--tls",
        action=argparse.BooleanOptionalAction,
        help="over TLS only, or over TCP only; both if not given",
    )
    parser.add_argument("--peers", action="store_true", help="measure rclone, too, if it is there")
    parser.add_argument(
        "--changes", action="store_true", help="measure what it costs to follow a server's changes"
    )
    parser.add_argument(
        "--counts",
        metavar="NUMBERS",
        type=lambda text: [int(number) for number in text.split(",")],
        default=COUNTS,
        help="with --changes: how many blobs there are, such as 1000,100000",
    )
    parser.add_argument(
        "--clients",
        type=int,
        default=CLIENTS,
        metavar="N",
        help="with --changes: how many wait at once",
    )
    parser.add_argument(
        "--quiet",
        type=float,
        default=QUIET,
        metavar="SECONDS",
        help="with --changes: for how long nothing changes while they wait",
    )
    parser.add_argument("--dir", default=".", help="the file system to work on; it is cleaned up")
    parser.add_argument("--json", metavar="FILE", help="write the figures there, too")
    parser.add_argument("--plot", metavar="FILE", help="draw a picture, PNG or SVG")
    return parser.parse_args(arguments)


def machine() -> dict[str, Any]:
    """Say what this was measured on."""
    return {
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "twisted": twisted_version,
    }


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _find_peer() -> str | None:
    peer = rclone.find()
    if peer is None:
        _say("rclone is not on this machine")
    elif rclone.is_paced(peer):
        _say("this rclone is slowed down: it is too old to let its pacer be turned off")
    return peer


def _workloads(options: argparse.Namespace) -> list[Workload]:
    among = GROWTH if options.growth else STANDARD
    return choose(options.only, among) if options.only else among


def _measure(bench: Bench, options: argparse.Namespace) -> list[Figures]:
    transports = [False, True] if options.tls is None else [options.tls]
    measured = []
    for workload in _workloads(options):
        for figures in bench.measure(workload, transports):
            measured += figures
    return measured


def _show(figures: list[Figures], picture: str | None) -> dict[str, Any]:
    print(write_table(figures))
    print(LEGEND)
    if picture:
        draw(figures, picture)
    return {"figures": [one.as_json() for one in figures]}


def _show_changes(measured: Measured, picture: str | None) -> dict[str, Any]:
    print(write_points(measured.points))
    print()
    print(write_figures(measured.figures))
    if picture:
        draw_changes(measured.points, picture)
    return measured.as_json()


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and show the figures."""
    options = parse(arguments)
    if options.plot and find_spec("matplotlib") is None:
        sys.exit("--plot takes matplotlib: pip install matplotlib")
    with tempfile.TemporaryDirectory(prefix="benchmarks-", dir=options.dir) as name:
        folder = Path(name).resolve()
        if options.changes:
            waiting = Waiting(folder, options.clients, _workloads(options)[0], options.quiet, _say)
            changes = Changes(folder, sorted(options.counts), waiting, _say)
            content = _show_changes(changes.measure(), options.plot)
        else:
            peer = _find_peer() if options.peers else None
            bench = Bench(folder, options.runs, peer, _say)
            content = _show(_measure(bench, options), options.plot)
    if options.json:
        text = json.dumps({"machine": machine(), **content}, indent=2)
        Path(options.json).write_text(f"{text}\n")


if __name__ == "__main__":
    main()
