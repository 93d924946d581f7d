"""The benchmarks still run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent


class BenchmarksTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = os.path.abspath(self.mktemp())
        os.makedirs(self.folder)

    def measure(self, *options: str) -> tuple[str, dict[str, Any]]:
        """Give what was printed, and what is in the file."""
        file = os.path.join(self.folder, "figures.json")
        command = [sys.executable, "-m", "benchmarks", *options]
        done = subprocess.run(
            [*command, "--dir", self.folder, "--json", file],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(os.listdir(self.folder), ["figures.json"])
        return done.stdout, json.loads(Path(file).read_text())

    def test_a_tiny_workload(self) -> None:
        """Every step of a workload gets its row in the table, and its figures in the file."""
        printed, content = self.measure("--only", "3x1000", "--no-tls")
        self.assertEqual([one["step"] for one in content["figures"]], ["put", "sync", "get"])
        for one in content["figures"]:
            self.assertIn(f"| {one['step']} ", printed)
            self.assertEqual(one["count"], 3)

    def test_some_changes(self) -> None:
        """A sync that finds nothing sends and receives as much, however many blobs there are."""
        counts = ("--counts", "3,40", "--clients", "20", "--only", "3x1000", "--quiet", "0.1")
        printed, content = self.measure("--changes", *counts)
        few, many = content["points"]
        self.assertEqual((few["blobs"], many["blobs"]), (3, 40))
        for way in ("sent", "received"):
            self.assertGreater(few[way], 100)
            self.assertLess(many[way], 1000)
            self.assertLess(abs(many[way] - few[way]), 10)
        figures = {one["what"]: one for one in content["figures"]}
        for what in figures:
            self.assertIn(f"| {what} ", printed)
        waiting = figures["20 clients wait: more memory in the server"]
        self.assertEqual((waiting["most"], waiting["is_reached"]), (64, True))
        self.assertIn("a new blob, beside 40: arrived there", figures)
        self.assertIn("40 ids are compared after 410: time", figures)
        self.assertIn("3x1000, while 20 clients wait: sync", figures)
