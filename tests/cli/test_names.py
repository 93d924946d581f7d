from __future__ import annotations

import json
import os
from collections.abc import Iterator

from .harness import CommandCase, Outcome, ServerCase
from .processes import Process

FORGED = "x\n0123456789abcdef0123456789abcdef  innocent.txt"
ODD = (FORGED, "\x1b[31mred\x07", "cr\rover", "\x9b2J", "\u202etxt.exe", os.fsdecode(b"latin-\xe9"))
"""Names that a terminal or a reader of lines would take for something else."""


def controls(text: str) -> Iterator[str]:
    """Give what acts on a terminal, but for line ends."""
    return (it for it in text if it != "\n" and not it.isprintable())


class NameTests(ServerCase):
    def check(self, outcome: Outcome) -> None:
        self.assertEqual(list(controls(outcome.out + outcome.err)), [])

    async def test_a_line_for_each_file(self) -> None:
        for name in ODD:
            self.write(f"in/{name}", b"data")
        outcome = await self.succeed("put", self.path("in"))
        self.assertEqual(len(outcome.out.split("\n")) - 1, len(ODD))
        self.check(outcome)
        self.assertIn(
            self.path(r"in/x\n0123456789abcdef0123456789abcdef  innocent.txt"), outcome.out
        )
        self.assertIn(self.path(r"in/latin-\xe9"), outcome.out)
        outcome = await self.succeed("put", self.path("in"), "--json")
        self.check(outcome)
        self.assertEqual(
            {it["file"] for it in outcome.records}, {self.path(f"in/{name}") for name in ODD}
        )

    async def test_errors_and_remarks(self) -> None:
        for name in ODD:
            path = self.path(f"in/{name}")
            for command in (
                ("put", path),
                ("put", path, "--json"),
                ("get", name),
                ("get", "a", "-o", path),
                ("rm", name),
                ("ls", "-n", name),
                ("ls", "--order", name),
                ("ls", "--key-file", path),
                ("count", "--config", path),
                ("count", "--ca", path),
                ("count", "--remote", name),
                ("count", "--user", name),
                ("keygen", f"{path}/x"),
                ("serve", "--data", path, "--tokens", path, "--listen", name),
                ("token", "revoke", name, "1", "--tokens", path),
                ("token", "list", name, "--tokens", path),
                ("quota", "show", "--data", path),
                ("demo", path),
                (name,),
            ):
                with self.subTest(command=command):
                    outcome = await self.run_command(*command)
                    self.assertTrue(outcome.err)
                    self.assertNotIn("unexpected", outcome.err)
                    self.check(outcome)

    async def test_a_traceback(self) -> None:
        self.let(debug="1")
        self.check(await self.run_command("put", self.path(FORGED)))
        outcome = await self.run_command("put", self.path("a"), "--config", self.path("\x1b[31m"))
        self.assertIn("Traceback", outcome.err)
        self.check(outcome)

    async def test_what_is_left_out(self) -> None:
        self.write("in/a", b"x")
        os.symlink(self.path("in"), self.path(f"in/{FORGED}"))
        outcome = await self.run_command("put", self.path("in"))
        self.assertEqual((outcome.code, len(outcome.err.splitlines())), (0, 1))

    async def test_everything_at_a_path_that_is_not_utf8(self) -> None:
        folder = self.path(os.fsdecode(b"\xff\xe9"))
        os.mkdir(folder)
        self.let(store=f"/{folder}/store")
        for name, content in (("small", b"s"), ("large", b"l" * 3_000_000)):
            path = self.write(os.path.join(folder, name), content)
            await self.succeed("put", path, "--id", name)
            out = os.path.join(folder, f"{name}.out")
            await self.succeed("get", name, "-o", out, "--quiet")
            with open(out, "rb") as file:
                self.assertEqual(file.read(), content)
        outcome = await self.run_command("token", "add", "bob", "--tokens", f"{folder}/tokens")
        self.assertEqual(outcome.code, 0)
        await self.succeed("token", "list", "--tokens", f"{folder}/tokens")


LOGGING = """
from blobman.cli.logs import begin_log
from twisted.logger import Logger
begin_log(True)
Logger("here").info("what {name} is", name="\\x1b[31m\\x07\\n2026 [there#info] forged")
try:
    raise KeyError("\\x1b[31m")
except KeyError:
    Logger("here").failure("an odd {name}", name="\\x9b\\udcff")
"""


class LogTests(CommandCase):
    async def test_what_is_logged_can_come_from_strangers(self) -> None:
        process = Process(["-c", LOGGING], {})
        self.assertEqual((await process.ended, process.out), (0, b""))
        lines = process.err.decode().splitlines()
        self.assertTrue(lines[0].endswith(r"[here#info] what \x1b[31m\x07"), lines)
        self.assertEqual(lines[1], "\t2026 [there#info] forged is")
        self.assertIn(r"an odd \u009b\xff", lines[2])
        self.assertIn("\tTraceback (most recent call last):", lines)
        self.assertEqual(list(controls(process.err.decode().replace("\n\t", ""))), [])


class EncodingTests(CommandCase):
    async def test_a_terminal_that_has_few_letters(self) -> None:
        key = self.path("key")
        await self.succeed("keygen", key)
        path = self.write("gr\u00fc\u00dfe", b"x")
        arguments = "--user", "alice", "--store", self.path("store"), "--key-file", key
        for options in (), ("--json",):
            process = Process(
                ["-m", "blobman", "put", path, "--local-only", *arguments, *options],
                {"PYTHONIOENCODING": "ascii"},
            )
            self.assertEqual((await process.ended, process.err), (0, b""))
            self.assertEqual(len(process.out.splitlines()), 1)
            if options:
                self.assertEqual(json.loads(process.out)["file"], path)
