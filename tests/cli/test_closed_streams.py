"""Commands whose standard streams are closed, as by a shell's ``>&-``."""

from __future__ import annotations

import os
import sys

from twisted.trial.unittest import SkipTest

from .harness import ServerCase
from .processes import Process
from .test_init import PASSPHRASE

OUT, ERR, IN = ">&-", "2>&-", "<&-"


class ClosedStreamTests(ServerCase):
    async def run_closed(self, closed: str, *arguments: str) -> Process:
        settings = {name: it for name, it in os.environ.items() if name.startswith("BLOBMAN_")}
        shell = f"import os, sys; os.execvp('sh', ['sh', '-c', 'exec \"$@\" {closed}', *sys.argv])"
        process = Process(["-c", shell, sys.executable, "-m", "blobman", *arguments], settings)
        await process.ended
        return process

    async def test_commands_do_their_work(self) -> None:
        path, out = self.write("content", b"c" * 100_000), self.path("out")
        for number, (closed, options) in enumerate(
            ((OUT, []), (ERR, []), (ERR, ["--json"]), (IN, []), (f"{IN} {OUT} {ERR}", []))
        ):
            blob_id = str(number)
            process = await self.run_closed(closed, "put", path, "--id", blob_id, *options)
            self.assertEqual((await process.ended, process.err), (0, b""), closed)
            process = await self.run_closed(closed, "get", blob_id, "-fo", out, *options)
            self.assertEqual(await process.ended, 0, (closed, process.err))
            self.assertEqual((self.folder / "out").read_bytes(), b"c" * 100_000)

    async def test_errors_still_give_their_codes(self) -> None:
        for closed in (OUT, ERR, f"{IN} {OUT} {ERR}"):
            process = await self.run_closed(closed, "get", "missing", "-o", self.path("out"))
            self.assertEqual(await process.ended, 3)

    async def test_nothing_gets_into_the_files_that_are_opened(self) -> None:
        self.let(remote="http://127.0.0.1:1/blobs/", debug="1")
        path = self.write("content", b"c" * 3_000_000)
        process = await self.run_closed(f"{OUT} {ERR}", "put", path, "--id", "a")
        self.assertEqual(await process.ended, 6)
        self.let(debug="")
        self.assertEqual((await self.succeed("get", "a")).out, "c" * 3_000_000)

    async def test_what_would_be_lost_is_refused(self) -> None:
        await self.put(b"a", "--id", "a")
        passphrase = self.write("passphrase", PASSPHRASE)
        tokens = self.path("tokens.json")
        before = (self.folder / "tokens.json").read_bytes()
        config = self.path("config")
        init = ["--config", config, "init", "--remote", "none", "--passphrase-file", passphrase]
        for name in ("key_file", "secret_file"):
            self.let(**{name: ""})
        for command in (["get", "a"], ["token", "add", "bob", "--tokens", tokens], init):
            process = await self.run_closed(OUT, *command)
            self.assertEqual(await process.ended, 2, process.err)
            self.assertIn(b"blobman: standard output is closed", process.err)
        self.assertEqual((self.folder / "tokens.json").read_bytes(), before)
        self.assertFalse(os.path.exists(config))

    async def test_a_full_disk(self) -> None:
        if not os.path.exists("/dev/full"):
            raise SkipTest("needs /dev/full")
        path = self.write("content", b"c")
        for command in (["put", path, "--id", "a"], ["get", "a"], ["ls"], ["ls", "--json"]):
            process = await self.run_closed("> /dev/full", *command)
            self.assertEqual(await process.ended, 1)
            self.assertEqual(process.err, b"blobman: standard output: No space left on device\n")
        process = await self.run_closed("2> /dev/full", "put", path)
        self.assertEqual(await process.ended, 0)
        process = await self.run_closed("2> /dev/full", "get", "missing")
        self.assertEqual(await process.ended, 3)

    async def test_standard_input_that_is_closed_is_not_empty(self) -> None:
        process = await self.run_closed(IN, "put", "-")
        self.assertEqual((await process.ended, process.out), (1, b""))
        self.assertEqual(process.err, b"blobman: -: standard input is closed\n")
