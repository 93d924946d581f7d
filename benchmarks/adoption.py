"""
A folder of before there was a catalogue, as it is taken over.

``python -m benchmarks.adoption [NUMBER]`` writes that many small blobs of one user as earlier
versions kept them (100,000 if it is not said), looks what would be taken over, takes it over, and
prints how long that takes, and how much memory in a process that does nothing else.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time

from blobman.server.running.administration import Odd, Report, adopt, survey

from .comparison import fill_server, names

STEPS = {"survey": survey, "adopt": adopt}


class Silence:
    """Hears all, and says nothing."""

    def progress(self, report: Report) -> None:
        """Do nothing."""

    def ended(self, report: Report) -> None:
        """Do nothing."""

    def odd(self, odd: Odd) -> None:
        """Do nothing."""


def peak() -> float:
    """The most memory that this process has had, in MiB."""
    with open("/proc/self/status") as file:
        (line,) = [line for line in file if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def measure(step: str, data: str) -> None:
    """Do it, and print what it took."""
    before, started = peak(), time.monotonic()
    report = STEPS[step](data, Silence())
    seconds = time.monotonic() - started
    assert report is not None
    memory = f"{peak() - before:.1f} MiB above {before:.1f} MiB"
    print(f"{step}: {report.blobs:,} blobs in {seconds:.1f} s, {memory}", flush=True)


def main(number: int) -> None:
    """Run it in a folder that goes away."""
    with tempfile.TemporaryDirectory(prefix="blobman-adoption-") as data:
        fill_server(data, names(number))
        os.sync()
        for step in STEPS:
            # A process of its own, whose memory is not that of the filling.
            subprocess.run([sys.executable, "-m", "benchmarks.adoption", step, data], check=True)


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in STEPS:
        measure(*sys.argv[1:])
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
