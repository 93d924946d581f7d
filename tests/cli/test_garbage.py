"""A process of blobman's own leaves its imports out of the garbage collection."""

from __future__ import annotations

import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

PROGRAM = """
import gc
from blobman.cli.garbage import THRESHOLD, collect_rarely
from blobman.cli import running

async def work(reactor):
    print(gc.get_freeze_count() > 10_000, gc.get_threshold()[0] == THRESHOLD)

running.run(running.Work(work))
"""


class GarbageTests(SynchronousTestCase):
    def test_in_a_command(self) -> None:
        said = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
        self.assertEqual(said.stdout.split(), ["True", "True"], said.stderr)
