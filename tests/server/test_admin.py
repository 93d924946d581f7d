"""What an administrator calls, and the plugin."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase, TestCase

from blobman.errors import StoreError
from blobman.server.admin import Usage, read_usage, reindex, set_quota, unset_quota
from blobman.server.app import BlobsService
from blobman.server.filesystem import FilesystemBackend
from blobman.server.plugin import Options, makeService

from .blobs import sealed
from .contract import name, query

PROJECT = Path(__file__).parent.parent.parent


class AdminTests(TestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        self.root = self.mktemp()
        self.backend = FilesystemBackend(self.root)
        self.addCleanup(lambda: self.backend.close())

    async def test_usage_while_a_server_runs(self) -> None:
        self.assertRaises(StoreError, read_usage, self.root)
        await self.backend.open()
        self.assertEqual(read_usage(self.root), [])
        await self.backend.store([(name(it), sealed()) for it in "abc"])
        await self.backend.store([(name("a", user="bob"), sealed())])
        set_quota(self.root, None, 5000)
        set_quota(self.root, "alice", None)
        expected = [Usage("alice", 3, 2400, None), Usage("bob", 1, 800, 5000)]
        self.assertEqual(read_usage(self.root), expected)
        unset_quota(self.root, "alice")
        self.assertEqual(read_usage(self.root)[0].quota, 5000)

    async def test_reindex(self) -> None:
        await self.backend.open()
        await self.backend.store([(name(it), sealed()) for it in "abc"])
        self.assertRaises(StoreError, reindex, self.root)
        await self.backend.close()
        os.unlink(os.path.join(self.root, "alice/default/b/b/b/b"))
        Path(self.root, ".blobman", "index.sqlite").write_bytes(b"damaged")
        self.assertEqual(reindex(self.root), 2)
        await self.backend.open()
        self.assertEqual(await self.backend.list("alice", query()), ["a", "c"])


class PluginTests(SynchronousTestCase):
    def run_twist(self, *arguments: str) -> str:
        code = "from twisted.application.twist._twist import Twist; Twist.main()"
        finished = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=PROJECT, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        return finished.stdout + finished.stderr

    def test_listed(self) -> None:
        self.assertIn("blobman", self.run_twist("--help"))
        self.assertIn("--incoming-tokens", self.run_twist("blobman", "--help"))

    def test_options(self) -> None:
        options = Options()
        root = self.mktemp()
        options.parseOptions(
            ["--data", root, "--tokens", root + ".tokens", "--listen", "tcp:0", "-l", "tcp:0",
             "--incoming", "tcp:0", "--incoming-tokens", "services", "--grace", "3"]
        )  # fmt: skip
        self.assertEqual((options["listen"], options["grace"]), (["tcp:0", "tcp:0"], 3.0))
        self.assertIsInstance(makeService(options), BlobsService)

    def test_what_is_missing(self) -> None:
        for arguments in (
            [],
            ["--data", "d", "--tokens", "t"],
            ["--data", "d", "--tokens", "t", "-l", "tcp:0", "--incoming", "tcp:0"],
        ):
            self.assertRaises(UsageError, Options().parseOptions, arguments)
