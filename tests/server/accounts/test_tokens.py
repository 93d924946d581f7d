"""Tokens: the file, and who is let in by it."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

from twisted.internet.defer import gatherResults
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from blobman.errors import StoreError
from blobman.server.accounts.file import FileAccounts
from blobman.server.accounts.tokens import TokenFile
from blobman.testing.contracts import AccountsContract


class TokenFileTests(SynchronousTestCase):
    def setUp(self) -> None:
        folder = self.mktemp()
        os.mkdir(folder)
        self.path = os.path.join(folder, "tokens.json")
        self.tokens = TokenFile(self.path, now=lambda: 1000.5)

    def test_only_a_hash_is_kept(self) -> None:
        token = self.tokens.add("alice")
        self.assertGreaterEqual(len(token), 43)
        self.assertNotIn(token, Path(self.path).read_text())
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o600)

    def test_when_it_was_made(self) -> None:
        self.tokens.add("alice")
        self.assertEqual(self.tokens.list()[0].created, 1000)

    def test_a_file_of_before_there_were_labels(self) -> None:
        self.tokens.add("alice")
        content = json.loads(Path(self.path).read_text())
        del content["tokens"][0]["label"]
        Path(self.path).write_text(json.dumps(content))
        self.tokens.add("alice", "phone")
        self.assertEqual([it.label for it in self.tokens.list()], ["", "phone"])

    def test_a_file_that_is_none(self) -> None:
        for text in (
            "",
            "[]",
            "{}",
            '{"tokens": [1]}',
            '{"tokens": [{"user": "a"}]}',
            "\0",
            "[" * 99999,
        ):
            Path(self.path).write_text(text)
            self.assertRaises(StoreError, self.tokens.list)
            self.assertRaises(StoreError, self.tokens.add, "alice")
            self.assertEqual(Path(self.path).read_text(), text)

    def test_through_a_symbolic_link(self) -> None:
        link = os.path.join(self.mktemp(), "linked")
        os.mkdir(os.path.dirname(link))
        os.symlink(os.path.abspath(self.path), link)
        # The link can be there before the file is.
        linked = TokenFile(link)
        for tokens in (linked, self.tokens):
            tokens.add("alice")
        self.assertEqual(len(self.tokens.list()), 2)
        self.assertEqual(linked.revoke("alice"), 2)
        self.assertEqual(self.tokens.list(), [])
        self.assertTrue(os.path.islink(link))
        self.assertEqual(os.listdir(os.path.dirname(link)), ["linked"])

    def test_what_is_no_file(self) -> None:
        os.mkfifo(self.path)
        # Nobody writes to the pipe: reading it would never end.
        self.assertRaisesRegex(StoreError, "not a regular file", self.tokens.list)
        os.unlink(self.path)
        os.mkdir(self.path)
        self.assertRaisesRegex(StoreError, "not a regular file", self.tokens.list)

    def test_a_folder_that_is_missing(self) -> None:
        missing = os.path.abspath(self.mktemp())
        error = self.assertRaises(
            FileNotFoundError, TokenFile(os.path.join(missing, "tokens")).add, "alice"
        )
        self.assertEqual(error.filename, missing)
        self.assertIn("folder is missing", str(error))


class ConcurrentTests(TestCase):
    async def test_no_change_is_lost(self) -> None:
        folder = self.mktemp()
        os.mkdir(folder)
        os.symlink("tokens", os.path.join(folder, "linked"))
        names = ("tokens", "linked")
        files = [TokenFile(os.path.join(folder, it)) for it in names for _ in range(4)]
        await gatherResults([deferToThread(it.add, "alice") for it in files for _ in range(5)])
        self.assertEqual(len(files[0].list()), 40)


class FileAccountsTests(AccountsContract, TestCase):
    def setUp(self) -> None:
        folder = self.mktemp()
        os.mkdir(folder)
        self.tokens = TokenFile(os.path.join(folder, "tokens"))
        self.accounts = FileAccounts(self.tokens)


class UnreadableTests(TestCase):
    """The token file can't be read. Nothing here depends on who runs it: root reads everything."""

    def setUp(self) -> None:
        self.folder = self.mktemp()
        os.mkdir(self.folder)
        self.tokens = TokenFile(os.path.join(self.folder, "tokens"))
        self.token = self.tokens.add("alice")
        self.clock = Clock()
        self.clock.advance(1000)
        self.accounts = FileAccounts(self.tokens, now=self.clock.seconds)
        self.reads = 0

    async def log_in(self) -> None:
        self.assertIs(await self.accounts.check("alice", self.token), True)

    async def refused(self) -> None:
        self.assertIs(await self.accounts.check("alice", self.token), False)

    async def not_told(self) -> None:
        await self.assertFailure(self.accounts.check("alice", self.token), StoreError)

    def break_reading(self) -> Callable[[], None]:
        def fail() -> None:
            self.reads += 1
            raise OSError(errno.EMFILE, "too many files are open")

        return self.patch(self.tokens, "digests", fail).restore  # type: ignore[no-any-return]

    async def test_a_revocation_is_read_when_that_works_again(self) -> None:
        await self.log_in()
        self.tokens.revoke("alice")
        mend = self.break_reading()
        for _ in range(3):
            await self.log_in()
        self.assertEqual(self.reads, 1)
        self.clock.advance(0.9)
        await self.log_in()
        self.assertEqual(self.reads, 1)
        self.clock.advance(0.2)
        await self.log_in()
        self.assertEqual(self.reads, 2)
        mend()
        self.clock.advance(1)
        await self.refused()

    async def test_it_is_not_believed_for_long(self) -> None:
        await self.log_in()
        self.clock.advance(40)
        self.break_reading()
        await self.log_in()
        Path(self.tokens.path).touch()
        self.clock.advance(59)
        await self.log_in()
        self.clock.advance(1)
        await self.not_told()

    async def test_never_read(self) -> None:
        Path(self.tokens.path).write_text("damaged")
        await self.not_told()

    async def test_a_damaged_file_that_is_mended_counts_at_once(self) -> None:
        await self.log_in()
        whole = Path(self.tokens.path).read_text()
        Path(self.tokens.path).write_text("damaged")
        await self.log_in()
        Path(self.tokens.path).write_text(whole)
        self.assertIs(await self.accounts.check("alice", self.tokens.add("alice")), True)

    async def test_a_folder_that_can_not_be_reached(self) -> None:
        await self.log_in()
        os.rename(self.folder, self.folder + "-away")
        Path(self.folder).touch()
        await self.log_in()
        self.clock.advance(60)
        await self.not_told()
        os.unlink(self.folder)
        os.rename(self.folder + "-away", self.folder)
        await self.log_in()

    async def test_a_file_that_is_gone_lets_nobody_in(self) -> None:
        await self.log_in()
        os.unlink(self.tokens.path)
        await self.refused()

    async def test_its_mode_is_looked_at(self) -> None:
        await self.log_in()
        version = self.tokens.version()
        os.chmod(self.tokens.path, 0o640)
        self.assertNotEqual(self.tokens.version(), version)
