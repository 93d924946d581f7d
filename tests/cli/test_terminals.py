"""What is asked on a terminal, typed on a real one."""

from __future__ import annotations

import os
import re
import signal
import sys
import termios

from twisted.trial.unittest import SkipTest

from .harness import NOWHERE
from .processes import Process
from .terminals import Terminal, TerminalProcess, without_terminal
from .test_init import PASSPHRASE, SetUpCase

BLOBMAN = (sys.executable, "-m", "blobman")
SECRET = PASSPHRASE.decode().strip()


class TerminalCase(SetUpCase):
    """Has no passphrase file: the test types."""

    def setUp(self) -> None:
        super().setUp()
        self.let(passphrase_file="")
        if not hasattr(termios, "TIOCSCTTY"):
            raise SkipTest("needs a terminal that can be given away")
        self.terminal = Terminal()
        self.addCleanup(self.terminal.close)

    def start(self, *arguments: str) -> TerminalProcess:
        return TerminalProcess(self.terminal, [*BLOBMAN, *arguments], dict(os.environ))

    def start_alone(self, *arguments: str) -> Process:
        return Process(without_terminal(*BLOBMAN, *arguments), dict(os.environ))

    async def succeed_with(self, process: Process) -> str:
        self.assertEqual(await process.ended, 0, (process.err, self.terminal.said))
        return process.out.decode()

    async def choose_passphrase(self, passphrase: str = SECRET) -> None:
        await self.terminal.answer("New passphrase, of 8 characters or more: ", passphrase)
        await self.terminal.answer("The same again: ", passphrase)

    async def init_typing(self) -> str:
        """Set up, type the passphrase only, and give the recovery code."""
        process = self.start("init", *self.required())
        await self.choose_passphrase()
        return await self.succeed_with(process)


class QuestionTests(TerminalCase):
    async def test_all_that_can_be_asked(self) -> None:
        process = self.start("init", "--offline")
        answer = self.terminal.answer
        await answer("Server, such as https://host/blobs/, or none: ", "ftp://host/")
        await answer("or none: ", "https://host")
        await answer("or none: ", NOWHERE)
        await answer("Your user name: ", "a/b")
        await answer("Your user name: ", "alice")
        await answer("The token that the server knows you by (not shown): ", "h\u00fcsch")
        await answer("(not shown): ", "mel lon")
        await answer("(not shown): ", self.path("token"))
        await answer("(not shown): ", "mellon")
        await answer("PEM file of the only authorities to trust [the system's]: ", "/missing")
        await answer("[the system's]: ", "")
        default = self.path("config/store")
        await answer(f"Folder of the local store [{default}]: ", "")
        await self.terminal.answer("New passphrase, of 8 characters or more: ", "short")
        await self.terminal.answer("New passphrase, of 8 characters or more: ", SECRET)
        await self.terminal.answer("The same again: ", "not the same")
        await self.choose_passphrase()
        code = (await self.succeed_with(process)).strip()
        for line in (b"remote must be", b"user must", b"/missing: No such file",
                     b"A passphrase needs 8", b"These differ.",
                     b"Its blobs are at https://host/blobs/", b"That is a file."):  # fmt: skip
            self.assertIn(line, process.err)
        for secret in (SECRET, "mellon", code):
            self.assertNotIn(secret, self.terminal.said)
            self.assertNotIn(secret, process.err.decode())
        self.assertEqual((self.folder / "config" / "token").read_text(), "mellon\n")
        self.assertNotIn("ca", self.settings())

    async def test_nothing_else_is_asked(self) -> None:
        await self.init_typing()
        self.assertEqual(re.findall(r"(\S+): ", self.terminal.said), ["more", "again"])

    async def test_the_passphrase_beside_standard_input(self) -> None:
        await self.init_typing()
        environment = {**os.environ, "BLOBMAN_REMOTE": ""}
        script = "echo content | exec $PYTHON -m blobman put - --id a --local-only"
        process = TerminalProcess(
            self.terminal, ["sh", "-c", script], {**environment, "PYTHON": sys.executable}
        )
        await self.terminal.answer("Passphrase: ", SECRET)
        self.assertEqual(await self.succeed_with(process), "a  -\n")
        process = self.start("get", "a")
        await self.terminal.answer("Passphrase: ", SECRET)
        self.assertEqual(await self.succeed_with(process), "content\n")

    async def test_a_wrong_passphrase(self) -> None:
        await self.init_typing()
        process = self.start("status")
        await self.terminal.answer("Passphrase: ", "open sesame")
        await self.terminal.answer("Passphrase: ", SECRET)
        await self.succeed_with(process)
        process = self.start("status")
        for _ in range(3):
            await self.terminal.answer("Passphrase: ", "open sesame")
        self.assertEqual(await process.ended, 9)
        self.assertEqual(
            process.err.decode().splitlines(),
            ["That is not it. Once more:"] * 2
            + ["blobman: the passphrase is wrong (blobman init --recover sets another one)"],
        )

    async def test_change_the_passphrase(self) -> None:
        await self.init_typing()
        process = self.start("passphrase")
        await self.terminal.answer("Passphrase: ", SECRET)
        await self.choose_passphrase("another one, then")
        await self.succeed_with(process)
        process = self.start("status")
        await self.terminal.answer("Passphrase: ", "another one, then")
        await self.succeed_with(process)

    async def test_recover(self) -> None:
        code = await self.init_typing()
        process = self.start("init", "--recover")
        await self.terminal.answer("Recovery code: ", code[:20])
        await self.terminal.answer("Recovery code: ", code.replace("-", " ").lower().strip())
        await self.choose_passphrase("another one, then")
        await self.succeed_with(process)
        self.assertIn(b"has 56 letters", process.err)


class RecoveryCodeTests(TerminalCase):
    async def test_it_is_shown_below_what_is_said_of_it(self) -> None:
        self.let(passphrase_file=self.path("passphrase"))
        command = [*BLOBMAN, "init", *self.required()]
        process = TerminalProcess(
            self.terminal, ["sh", "-c", '"$@" > /dev/tty', "sh", *command], dict(os.environ)
        )
        await self.succeed_with(process)
        self.assertIn(b"This is your recovery code. It is shown this once", process.err)
        self.assertIn(b"If you lose\nboth it and the passphrase, nobody can", process.err)


class BrokenPipeTests(TerminalCase):
    async def test_nobody_reads_the_recovery_code(self) -> None:
        self.let(passphrase_file=self.path("passphrase"))
        process = self.start("init", *self.required())
        process.process.closeStdout()
        self.assertEqual(await process.ended, 141, process.err)
        self.assertEqual(os.listdir(self.folder / "config"), [])


class InterruptionTests(TerminalCase):
    async def interrupt(self, process: TerminalProcess, key: str) -> None:
        self.terminal.type(key)
        self.assertEqual(await process.ended, 128 + signal.SIGINT)
        self.assertEqual(process.err.decode().splitlines()[-1], "blobman: interrupted")
        self.assertNotIn(b"Traceback", process.err)
        echo = termios.tcgetattr(self.terminal.fileno())[3] & termios.ECHO
        self.assertTrue(echo, "the terminal shows again what is typed")

    async def test_at_each_question(self) -> None:
        process = self.start("init", "--offline")
        await self.terminal.when_said("or none: ")
        await self.interrupt(process, "\x03")
        process = self.start("init", *self.required())
        await self.terminal.answer("characters or more: ", SECRET)
        await self.terminal.when_said("again: ")
        await self.interrupt(process, "\x03")
        self.assertFalse((self.folder / "config").exists())

    async def test_the_end_of_the_input(self) -> None:
        process = self.start("init", "--offline")
        await self.terminal.when_said("or none: ")
        await self.interrupt(process, "\x04")

    async def test_it_does_not_go_on_behind_what_the_terminal_shows(self) -> None:
        await self.init_typing()
        command = [*BLOBMAN, "sync", "--watch", "60"]
        for passphrase, last, said in (
            (SECRET, "refused", "interrupted by SIGINT"),
            ("", "Passphrase: ", "interrupted"),
        ):
            process = TerminalProcess(
                self.terminal,
                ["sh", "-c", 'exec "$@" 2> /dev/tty', "sh", *command],
                dict(os.environ),
            )
            if passphrase:
                await self.terminal.answer("Passphrase: ", passphrase)
            await self.terminal.when_said(last)
            self.terminal.type("\x03")
            self.assertEqual(await process.ended, 128 + signal.SIGINT)
            await self.terminal.when_said(f"\nblobman: {said}\r\n")

    async def test_a_terminal_is_left_as_it_was(self) -> None:
        for number in (signal.SIGTERM, signal.SIGHUP):
            process = self.start("init", *self.required())
            await self.terminal.when_said("characters or more: ")
            process.process.signalProcess(number)
            self.assertEqual((await process.ended, process.err), (128 + number, b""))
            self.assertTrue(termios.tcgetattr(self.terminal.fileno())[3] & termios.ECHO)

    async def test_at_the_passphrase_of_a_command(self) -> None:
        await self.init_typing()
        process = self.start("status")
        await self.terminal.when_said("Passphrase: ")
        await self.interrupt(process, "\x03")


class NoTerminalTests(TerminalCase):
    async def refuse_alone(self, *arguments: str) -> str:
        process = self.start_alone(*arguments)
        process.process.closeStdin()
        self.assertEqual(await process.ended, 2, process.err)
        self.assertEqual(process.err.count(b"\n"), 1)
        return process.err.decode()

    async def test_what_to_do_is_said(self) -> None:
        line = await self.refuse_alone("init")
        self.assertIn("no terminal to ask on: give --remote, or set BLOBMAN_REMOTE", line)
        line = await self.refuse_alone("init", "--remote", NOWHERE, "--user", "alice")
        self.assertIn("give --token-file, or set BLOBMAN_TOKEN_FILE", line)
        line = await self.refuse_alone("init", *self.required())
        self.assertIn("a new passphrase on: give --passphrase-file", line)
        self.assertFalse((self.folder / "config").exists())
        await self.init("--passphrase-file", self.path("passphrase"))
        self.assertIn("the passphrase on: give --passphrase-file", await self.refuse_alone("ls"))
        line = await self.refuse_alone("passphrase", "--passphrase-file", self.path("passphrase"))
        self.assertIn("a new passphrase on: give --new-passphrase-file", line)

    async def test_the_recovery_code_from_standard_input(self) -> None:
        self.let(passphrase_file=self.path("passphrase"))
        code = await self.init()
        process = self.start_alone("init", "--recover", "--config", self.path("other"),
                                   *self.required())  # fmt: skip
        process.process.writeToChild(0, code.encode())
        process.process.closeStdin()
        await self.succeed_with(process)
