"""The benchmarks still run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent


class BenchmarksTests(SynchronousTestCase):
    def test_a_tiny_workload(self) -> None:
        """Every step of a workload gets its row in the table, and its figures in the file."""
        folder = os.path.abspath(self.mktemp())
        os.makedirs(folder)
        file = os.path.join(folder, "figures.json")
        options = ["--only", "3x1000", "--no-tls", "--dir", folder, "--json", file]
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks", *options],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        figures = json.loads(Path(file).read_text())["figures"]
        self.assertEqual([one["step"] for one in figures], ["put", "sync", "get"])
        for one in figures:
            self.assertIn(f"| {one['step']} ", done.stdout)
            self.assertEqual(one["count"], 3)
        self.assertEqual(os.listdir(folder), ["figures.json"])
