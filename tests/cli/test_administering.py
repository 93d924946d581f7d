from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from blobman.cli import progress
from blobman.cli.screen import Screen
from blobman.cli.sizes import read_size
from blobman.server.storage.interface import BlobName

from ..server import tampering
from .harness import NOWHERE, USER, CommandCase, ServerCase


class SizeTests(SynchronousTestCase):
    def test_sizes(self) -> None:
        for text, size in (
            ("0", 0), ("1500", 1500), ("500kB", 500_000), ("2.5M", 2_500_000), ("1GiB", 2**30),
            ("1 TB", 10**12), ("7b", 7), ("3ki", 3072), ("none", None), ("NONE", None),
        ):  # fmt: skip
            self.assertEqual(read_size(text), size)
        for wrong in ("", "-1", "1e3", "k", "1kk", "1 000", "inf", "\u0663"):
            self.assertRaises(ValueError, read_size, wrong)


class QuotaTests(ServerCase):
    async def test_a_running_server_follows(self) -> None:
        data = "--data", self.path("data")
        await self.put(b"a", "--id", "a")
        await self.succeed("quota", "set", "1kB", USER, *data)
        await self.refuse_put(8)
        await self.succeed("quota", "set", "none", USER, *data)
        await self.put(b"x" * 1000, "--id", "b")
        await self.succeed("quota", "set", "1kB", "--default", *data)
        await self.put(b"x" * 1000, "--id", "c")
        await self.succeed("quota", "unset", USER, *data)
        await self.refuse_put(8)

    async def refuse_put(self, code: int) -> None:
        outcome = await self.run_command("put", self.write("large", b"x" * 1000))
        self.assertEqual(outcome.code, code, outcome)

    async def test_usage(self) -> None:
        data = "--data", self.path("data")
        await self.put(b"a")
        await self.put(b"b")
        await self.succeed("quota", "set", "2GB", USER, *data)
        self.assertEqual(
            (await self.succeed("server", "usage", *data)).lines,
            ["user   blobs    size   quota", "alice      2  1.5 kB  2.0 GB"],
        )
        [record] = (await self.succeed("server", "usage", *data, "--json")).records
        self.assertEqual((record["user"], record["blobs"], record["quota"]), (USER, 2, 2 * 10**9))

    async def test_show(self) -> None:
        data = "--data", self.path("data")
        self.assertEqual(
            (await self.succeed("quota", "show", *data)).lines,
            ["user       quota", "(default)   none"],
        )
        await self.succeed("quota", "set", "2GB", USER, *data)
        await self.succeed("quota", "set", "1GB", "--default", *data)
        self.assertEqual(
            (await self.succeed("quota", "show", *data)).lines,
            ["user        quota", "(default)  1.0 GB", "alice      2.0 GB"],
        )
        self.assertEqual(
            (await self.succeed("quota", "show", *data, "--json")).records,
            [{"user": None, "quota": 10**9}, {"user": USER, "quota": 2 * 10**9}],
        )

    async def test_not_restored_while_a_server_runs(self) -> None:
        await self.refuse(10, "server", "restored", "--data", self.path("data"))


class WithoutServerTests(CommandCase):
    async def test_restored(self) -> None:
        os.mkdir(self.path("data"))
        data = "--data", self.path("data")
        await self.refuse(10, "server", "restored", *data)
        await self.succeed("quota", "set", "1GB", "--default", *data)
        outcome = await self.succeed("server", "restored", *data)
        self.assertEqual(outcome.lines, ["It has 0 changes."])

    async def test_mistakes(self) -> None:
        os.mkdir(self.path("data"))
        data = "--data", self.path("data")
        self.assertIn("number of bytes", await self.refuse(2, "quota", "set", "much", "a", *data))
        self.assertIn("--default", await self.refuse(2, "quota", "set", "1", *data))
        self.assertIn(
            "--default", await self.refuse(2, "quota", "set", "1", "a", "--default", *data)
        )
        self.assertIn("user must be", await self.refuse(1, "quota", "set", "1", "a b", *data))
        await self.refuse(2, "server", "usage", "--data", self.path("missing"))
        await self.refuse(10, "server", "usage", *data)


class VerifyTests(ServerCase):
    async def test_all_and_some(self) -> None:
        for blob_id in ("a", "b"):
            await self.put(b"x", "--id", blob_id)
        await self.put(b"x", "--local-only")
        for options in ([], ["--deep"]):
            outcome = await self.run_command("verify", *options)
            self.assertEqual((outcome.code, outcome.err), (0, "2 are the same on the server\n"))
        records = (await self.succeed("verify", "a", "--json")).records
        self.assertEqual(records, [{"verified": "a", "external": False}])

    async def test_progress(self) -> None:
        for blob_id in ("a", "b"):
            await self.put(b"x" * 1_000_000, "--id", blob_id)
        self.assertEqual((await self.succeed("verify", "--json")).events, [])
        events = (await self.succeed("verify", "--deep", "--json")).events
        self.assertEqual({it["direction"] for it in events}, {"download"})
        ended = {it["id"]: it["done"] for it in events if it["state"] == "done"}
        self.assertEqual(ended, {"a": 1_000_753, "b": 1_000_753})
        words: list[str] = []
        self.patch(progress, "LINE_INTERVAL", 0.01)
        self.patch(Screen, "remark", lambda screen, text: words.append(text))
        await self.succeed("verify", "--deep", "--limit-rate", "3MB")
        self.assertTrue([it for it in words if "of 2.0 MB" in it], words)

    async def test_what_differs(self) -> None:
        for blob_id in ("a", "b"):
            await self.put(b"x", "--id", blob_id)
        name = BlobName(USER, "default", "a")
        stored = tampering.read(self.path("data"), name)
        assert stored is not None
        tampering.replace(self.path("data"), name, stored[:-1] + bytes([stored[-1] ^ 1]))
        outcome = await self.run_command("verify")
        self.assertEqual(outcome.code, 7)
        self.assertEqual(
            outcome.err.splitlines(),
            [
                "blobman: verify 'a': the server has another blob of that id",
                "1 is the same on the server",
            ],
        )

    async def test_what_is_missing(self) -> None:
        await self.put(b"x", "--id", "a")
        self.assertEqual((await self.run_command("verify", "missing")).code, 3)
        here = self.path("store")
        self.another_machine()
        await self.succeed("rm", "a")
        self.let(store=here)
        self.assertEqual((await self.run_command("verify")).code, 3)

    async def test_a_server_that_is_down(self) -> None:
        for blob_id in "abcdefgh":
            await self.put(b"x", "--id", blob_id)
        for options in ([], ["--deep"]):
            line = await self.refuse(6, "verify", "--remote", NOWHERE, *options)
            self.assertIn("Connection refused", line)
