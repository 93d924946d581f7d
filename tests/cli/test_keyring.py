from __future__ import annotations

import os
import sys

import keyring
import keyring.backend
import keyring.backends.chainer
import keyring.backends.fail
import keyring.backends.null
import keyring.errors
from twisted.trial.unittest import SkipTest

from blobman.cli import keyrings
from blobman.cli.configuration import Configuration

from .test_init import SetUpCase


class MemoryKeyring(keyring.backend.KeyringBackend):
    """Keeps passwords as long as it lives."""

    priority = 1

    def __init__(self) -> None:
        super().__init__()
        self.entries: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.entries[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        if self.entries.pop((service, username), None) is None:
            raise keyring.errors.PasswordDeleteError("no such password")


class LockedKeyring(MemoryKeyring):
    """Nobody unlocks it."""

    def get_password(self, service: str, username: str) -> str | None:
        raise keyring.errors.KeyringLocked("it stays locked")

    def set_password(self, service: str, username: str, password: str) -> None:
        raise keyring.errors.KeyringLocked("it stays locked")


class UnreachableKeyring(MemoryKeyring):
    """Lets through what goes wrong below it, as backends do."""

    def get_password(self, service: str, username: str) -> str | None:
        raise OSError("no bus")


class Chain(keyring.backends.chainer.ChainerBackend):
    """Asks one keyring after another."""

    backends: list[keyring.backend.KeyringBackend] = []  # noqa: RUF012

    def __init__(self, backends: list[keyring.backend.KeyringBackend]) -> None:
        super().__init__()
        self.backends = backends


class KeyringTests(SetUpCase):
    def setUp(self) -> None:
        super().setUp()
        self.let(passphrase_file="")
        before = keyring.get_keyring()
        self.addCleanup(keyring.set_keyring, before)
        self.keyring = self.use(MemoryKeyring())

    def use(self, backend: MemoryKeyring) -> MemoryKeyring:
        keyring.set_keyring(backend)
        return backend

    async def test_it_keeps_the_passphrase(self) -> None:
        await self.init("--keyring")
        [(service, account)] = self.keyring.entries
        self.assertEqual(service, "blobman")
        self.assertNotIn(self.keyring.entries[service, account].encode(), self.keys())
        await self.put_locally()
        await self.succeed("ls")

    async def test_it_forgets_the_passphrase(self) -> None:
        code = await self.init("--keyring")
        self.keyring.entries.clear()
        self.assertIn("blobman init --recover", await self.refuse(2, "ls"))
        file = self.write("code", code.encode())
        await self.run_command("init", "--recover", "--code-file", file, "--keyring")
        await self.succeed("ls")
        self.assertEqual(len(self.keyring.entries), 1)

    async def test_into_it_and_out_of_it(self) -> None:
        await self.init("--passphrase-file", self.path("passphrase"))
        await self.run_command(
            "passphrase", "--keyring", "--passphrase-file", self.path("passphrase")
        )
        await self.succeed("ls")
        [first] = self.keyring.entries
        await self.run_command("passphrase", "--keyring")
        [second] = self.keyring.entries
        self.assertNotEqual(first, second)
        await self.run_command("passphrase", "--new-passphrase-file", self.path("passphrase"))
        self.assertEqual(self.keyring.entries, {})
        await self.succeed("ls", "--passphrase-file", self.path("passphrase"))

    async def test_the_old_entry_lasts_until_the_new_one_counts(self) -> None:
        await self.init("--keyring")
        before = dict(self.keyring.entries)

        def fail(*arguments: object) -> None:
            self.assertEqual(len(self.keyring.entries), 2)
            raise OSError(28, "No space left on device")

        self.patch(Configuration, "write_keys", fail)
        await self.refuse(1, "passphrase", "--keyring")
        self.assertEqual(self.keyring.entries, before)

    async def test_a_keyring_that_refuses(self) -> None:
        self.use(LockedKeyring())
        line = await self.refuse(1, "init", *self.required(), "--keyring")
        self.assertEqual(line, "the keyring refuses: it stays locked")
        self.assertFalse((self.folder / "config").exists())
        self.use(self.keyring)
        await self.init("--keyring")
        self.use(LockedKeyring())
        await self.refuse(1, "ls")

    async def test_no_keyring(self) -> None:
        for backend, code, named in (
            (keyring.backends.fail.Keyring(), 2, "no keyring that could be used"),
            (keyring.backends.null.Keyring(), 1, "keeps nothing"),
        ):
            keyring.set_keyring(backend)
            line = await self.refuse(code, "init", *self.required(), "--keyring")
            self.assertIn(named, line)
            self.assertIn("leave out --keyring", line)

    async def test_a_keyring_out_of_reach_has_lost_nothing(self) -> None:
        await self.init("--keyring")
        for backend in (keyring.backends.fail.Keyring(), keyring.backends.null.Keyring()):
            keyring.set_keyring(backend)
            line = await self.refuse(1, "ls")
            self.assertIn("can't be reached from here", line)
            self.assertNotIn("recover", line)
        self.use(UnreachableKeyring())
        line = await self.refuse(1, "ls")
        self.assertEqual(line, "the keyring refuses: no bus")
        self.use(self.keyring)
        await self.succeed("ls")

    async def test_plain_text_is_refused(self) -> None:
        try:
            from keyrings.alt import file
        except ModuleNotFoundError:
            raise SkipTest("needs keyrings.alt") from None
        plain = file.PlaintextKeyring()
        for backend in (plain, Chain([plain, self.keyring])):
            keyring.set_keyring(backend)
            line = await self.refuse(2, "init", *self.required(), "--keyring")
            self.assertIn("may keep the passphrase as plain text: leave out --keyring", line)
            self.assertFalse((self.folder / "config").exists())
        self.assertFalse(os.path.exists(plain.file_path))
        keyring.set_keyring(Chain([self.keyring, plain]))
        await self.init("--keyring")
        self.assertEqual(len(self.keyring.entries), 1)

    async def test_no_package(self) -> None:
        self.addCleanup(sys.modules.update, {"keyring": keyring})
        sys.modules["keyring"] = None  # type: ignore[assignment]
        line = await self.refuse(2, "init", *self.required(), "--keyring")
        self.assertIn("pip install 'blobman[keyring]'", line)
        self.assertFalse((self.folder / "config").exists())

    def test_forgetting_what_is_not_there(self) -> None:
        keyrings.forget("nothing")
