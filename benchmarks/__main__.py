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
from .figures import Figures
from .plot import draw
from .table import LEGEND, write_table
from .workloads import GROWTH, STANDARD, choose


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


def _measure(options: argparse.Namespace) -> list[Figures]:
    among = GROWTH if options.growth else STANDARD
    workloads = choose(options.only, among) if options.only else among
    transports = [False, True] if options.tls is None else [options.tls]
    peer = _find_peer() if options.peers else None
    measured = []
    with tempfile.TemporaryDirectory(prefix="benchmarks-", dir=options.dir) as folder:
        bench = Bench(Path(folder).resolve(), options.runs, peer, _say)
        for workload in workloads:
            for figures in bench.measure(workload, transports):
                measured += figures
    return measured


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and show the figures."""
    options = parse(arguments)
    if options.plot and find_spec("matplotlib") is None:
        sys.exit("--plot takes matplotlib: pip install matplotlib")
    figures = _measure(options)
    print(write_table(figures))
    print(LEGEND)
    if options.json:
        content = {"machine": machine(), "figures": [one.as_json() for one in figures]}
        Path(options.json).write_text(json.dumps(content, indent=2) + "\n")
    if options.plot:
        draw(figures, options.plot)


if __name__ == "__main__":
    main()
