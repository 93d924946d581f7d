"""What an administrator calls, and the plugin."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from twisted.internet import reactor
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase, TestCase

from blobman.errors import StoreError
from blobman.server.running.administration import (
    Usage,
    adopt,
    back_up,
    read_usage,
    restore,
    set_quota,
    tokens_of,
    unset_quota,
)
from blobman.server.running.plugin import Options, makeService
from blobman.server.running.service import BlobsService
from blobman.server.storage.backends import folder_backend

from ..blobs import name, sealed
from ..owners import owners_below, work_as_root
from ..storage.soledad.older import OlderFolder

PROJECT = Path(__file__).parent.parent.parent.parent


class AdminTests(TestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        self.root = self.mktemp()
        self.backend = folder_backend(self.root)
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

    async def test_a_folder_with_a_name_that_means_something_in_a_url(self) -> None:
        root = self.mktemp() + "a#b?c%20d"
        backend = folder_backend(root)
        self.addCleanup(lambda: backend.close())
        await backend.open()
        await backend.store([(name("a"), sealed())])
        self.assertEqual(read_usage(root), [Usage("alice", 1, 800, None)])
        await backend.close()
        self.assertEqual(read_usage(root), [Usage("alice", 1, 800, None)])

    async def test_looking_makes_nothing(self) -> None:
        os.mkdir(self.root)
        self.assertRaises(StoreError, read_usage, self.root)
        self.assertEqual(os.listdir(self.root), [])
        await self.backend.open()
        await self.backend.close()
        before = sorted(os.listdir(os.path.join(self.root, ".blobman")))
        self.assertEqual(read_usage(self.root), [])
        self.assertEqual(sorted(os.listdir(os.path.join(self.root, ".blobman"))), before)

    async def test_what_root_does_leaves_the_folder_to_its_owner(self) -> None:
        os.mkdir(self.root)
        work_as_root(self, self.root)
        status = os.stat(self.root)
        set_quota(self.root, "alice", 5000)
        set_quota(self.root, "bob", 5000)
        await self.backend.open()
        await self.backend.store([(name("a"), sealed())])
        self.assertEqual(read_usage(self.root), [Usage("alice", 1, 800, 5000)])
        self.assertEqual(owners_below(self.root), {(status.st_uid, status.st_gid)})


class TokensTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.data = os.path.abspath(self.mktemp())

    def test_names_of_one_catalogue(self) -> None:
        relative = os.path.relpath(self.data)
        names = (
            f"sqlite:{self.data}",
            self.data,
            f"sqlite:{relative}",
            relative,
            f"SQLite:./{relative}/",
        )
        for url in names:
            tokens_of(url).add("alice")
        for url in names:
            self.assertEqual(len(tokens_of(url).list()), len(names))

    def test_names_that_are_none(self) -> None:
        for url in ("", "sqlite:", "mysql://u:secret@host/db", "http://host", "a:b"):
            error = self.assertRaises(ValueError, tokens_of, url)
            self.assertIn("sqlite:DIR", str(error))
            self.assertNotIn("secret", str(error))

    def test_names_with_signs_in_them(self) -> None:
        for sign in ("a#b?c%20d", "a:b", "~"):
            tokens_of(f"sqlite:{self.data}{sign}").add("alice")
            self.assertTrue(os.path.isdir(self.data + sign))

    def test_a_folder_that_is_missing(self) -> None:
        # A mistake in a path should not make folders.
        error = self.assertRaises(FileNotFoundError, tokens_of, f"sqlite:{self.data}/data")
        self.assertEqual(error.filename, self.data)
        self.assertFalse(os.path.exists(self.data))

    def test_a_folder_that_has_not_been_taken_over(self) -> None:
        OlderFolder(self.data).put(("alice", "default", "a"), sealed())
        tokens = tokens_of(self.data)
        self.assertEqual(tokens.list(), [])
        error = self.assertRaises(StoreError, tokens.add, "alice")
        self.assertIn("adopt", str(error))
        self.assertEqual(tokens.revoke("alice"), 0)
        adopt(self.data)
        tokens.add("alice")
        self.assertEqual(len(read_usage(self.data)), 1)

    def test_they_are_in_a_backup(self) -> None:
        tokens_of(self.data).add("alice", "phone")
        back_up(self.data, self.data + "-backup")
        self.assertRaises(StoreError, tokens_of(self.data + "-backup").add, "alice")
        restore(self.data + "-backup", self.data + "-restored")
        [kept] = tokens_of(self.data + "-restored").list()
        self.assertEqual([kept], tokens_of(self.data).list())

    def test_what_root_does_leaves_the_folder_to_its_owner(self) -> None:
        os.mkdir(self.data)
        work_as_root(self, self.data)
        status = os.stat(self.data)
        tokens_of(self.data).add("alice")
        self.assertEqual(owners_below(self.data), {(status.st_uid, status.st_gid)})


class PluginTests(SynchronousTestCase):
    def twist(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        code = "from twisted.application.twist._twist import Twist; Twist.main()"
        return subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=PROJECT, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip

    def test_listed(self) -> None:
        self.assertIn("blobman", self.twist("--help").stdout)
        text = self.twist("blobman", "--help").stdout
        # No line has a hole in it, such as an indentation of the source.
        self.assertNotRegex(text, r"(?m)^ {20,}\S.* {3,}\S")
        self.assertIn("--incoming-tokens", text)
        self.assertNotIn("default: ]", " ".join(text.split()))

    def settings(self, listen: str) -> list[str]:
        root = os.path.abspath(self.mktemp())
        return ["--data", root, "--tokens", root + ".tokens", "--listen", listen]

    def test_a_server_that_can_not_start_ends(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            settings = self.settings(f"tcp:{port}:interface=127.0.0.1")
            finished = self.twist("--log-format=text", "blobman", *settings)
        self.assertEqual(finished.returncode, os.EX_UNAVAILABLE, finished)
        self.assertIn("The server did not start: Couldn't listen", finished.stdout)
        self.assertNotIn("Traceback", finished.stdout + finished.stderr)

    def test_a_folder_that_can_not_be_one(self) -> None:
        settings = self.settings("tcp:0:interface=127.0.0.1")
        Path(settings[1]).touch()
        finished = self.twist("blobman", *settings)
        self.assertEqual(finished.returncode, os.EX_UNAVAILABLE, finished)
        self.assertNotIn("Traceback", finished.stdout + finished.stderr)

    def test_a_key_that_is_missing(self) -> None:
        listen = "ssl:0:privateKey=/missing/key.pem"
        finished = self.twist("blobman", *self.settings(listen))
        self.assertEqual(finished.returncode, os.EX_USAGE, finished)
        self.assertIn(f"Error: --listen {listen}: /missing/key.pem: No such file", finished.stderr)
        self.assertNotIn("Traceback", finished.stdout + finished.stderr)

    def test_endpoints_that_are_none(self) -> None:
        none = os.path.abspath(self.mktemp())
        Path(none).write_text("no key")
        for option in ("listen", "incoming", "metrics"):
            for endpoint in ("nonsense", "nonsense:1", "tcp:x", "tcp:1:x=1", f"ssl:0:{none}"):
                options = [*self.settings("tcp:0"), "--incoming-tokens", "services"]
                error = self.assertRaises(
                    UsageError, Options().parseOptions, [*options, f"--{option}", endpoint]
                )
                self.assertIn(f"--{option} {endpoint}", str(error))

    def test_options(self) -> None:
        options = Options()
        root = self.mktemp()
        options.parseOptions(
            ["--data", root, "--tokens", root + ".tokens", "--listen", "tcp:0", "-l", "tcp:0",
             "--incoming", "tcp:0", "--incoming-tokens", "services", "--grace", "3"]
        )  # fmt: skip
        self.assertEqual((options["listen"], options["grace"]), (["tcp:0", "tcp:0"], 3.0))
        self.patch(reactor, "seconds", time.time)
        self.assertIsInstance(makeService(options), BlobsService)
        self.assertIs(getattr(reactor, "seconds"), time.monotonic)  # noqa: B009

    def test_tokens_in_the_catalogue(self) -> None:
        options = Options()
        options.parseOptions(["--data", self.mktemp(), "--listen", "tcp:0"])
        self.assertIsInstance(options["service"], BlobsService)

    def test_payloads_elsewhere(self) -> None:
        options = Options()
        options.parseOptions(
            ["--catalogue", self.mktemp(), "--payloads", self.mktemp(), "--listen", "tcp:0"]
        )
        self.assertIsInstance(options["service"], BlobsService)

    def test_what_is_missing(self) -> None:
        for arguments in (
            [],
            ["--data", "d", "--tokens", "t"],
            ["-l", "tcp:0"],
            ["--data", "d", "--tokens", "", "-l", "tcp:0"],
            ["--data", "d", "--tokens", "t", "-l", "tcp:0", "--incoming", "tcp:0"],
            ["--catalogue", "sqlite:d", "-l", "tcp:0"],
            ["--data", "d", "--payloads", "s3://", "-l", "tcp:0"],
            ["--data", "d", "--keep-payloads", "-1", "-l", "tcp:0"],
            ["--data", "d", "--keep-payloads", "nan", "-l", "tcp:0"],
        ):
            self.assertRaises(UsageError, Options().parseOptions, arguments)
