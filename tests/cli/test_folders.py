from __future__ import annotations

import os
import pwd
import stat
import sys
from pathlib import Path

from twisted.trial.unittest import SkipTest

from blobman.cli import folders
from blobman.cli.configuration import Configuration

from .test_init import SetUpCase


class FolderCase(SetUpCase):
    """Has the platform's folders, in a home of its own."""

    def setUp(self) -> None:
        super().setUp()
        if sys.platform == "darwin":
            raise SkipTest("macOS has folders of its own")
        self.let(config="")
        for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME"):
            del os.environ[name]
        here = os.getcwd()
        os.chdir(self.folder)
        self.addCleanup(os.chdir, here)

    def no_user(self) -> None:
        """Be one whom the system's list of users does not have, as in a container."""
        del os.environ["HOME"]

        def fail(number: int) -> pwd.struct_passwd:
            raise KeyError(number)

        self.patch(pwd, "getpwuid", fail)


class WhereTests(FolderCase):
    async def test_variables_that_are_empty_or_relative_count_for_nothing(self) -> None:
        for value in ("", "relative", "./config", " "):
            os.environ.update({"XDG_CONFIG_HOME": value, "XDG_DATA_HOME": value})
            configuration = Configuration(None)
            self.assertEqual(str(configuration.path), self.path("home/.config/blobman"))
            self.assertEqual(configuration.default_store, self.path("home/.local/share/blobman"))

    async def test_variables(self) -> None:
        os.environ.update(
            {"XDG_CONFIG_HOME": self.path("config"), "XDG_DATA_HOME": self.path("data")}
        )
        configuration = Configuration(None)
        self.assertEqual(str(configuration.path), self.path("config/blobman"))
        self.assertEqual(configuration.default_store, self.path("data/blobman"))

    async def test_a_home_that_is_none_is_looked_up(self) -> None:
        home = pwd.getpwuid(os.getuid()).pw_dir
        for value in ("", "relative"):
            os.environ["HOME"] = value
            self.assertEqual(str(Configuration(None).path), f"{home}/.config/blobman")
        del os.environ["HOME"]
        self.assertEqual(str(Configuration(None).path), f"{home}/.config/blobman")


class OddPlaceTests(FolderCase):
    async def test_a_home_that_is_not_utf8(self) -> None:
        os.environ["HOME"] = self.path(os.fsdecode(b"\xffr\xe9sum\xe9 \x1b[31m"))
        code = await self.init()
        await self.put_locally()
        self.assertEqual(len((await self.succeed("ls")).lines), 1)
        file = self.write("code", code.encode())
        outcome = await self.run_command("init", "--recover", "--code-file", file)
        self.assertEqual(outcome.code, 0, outcome)
        self.assertIn(self.path(r"\xffr\xe9sum\xe9 \x1b[31m/.config/blobman"), outcome.err)
        await self.succeed("ls")

    async def test_files_that_an_editor_has_marked(self) -> None:
        await self.init("--config", self.path("config"))
        for name in ("settings.json", "keys.json"):
            path = self.folder / "config" / name
            marked = b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n")
            path.write_bytes(marked)
        await self.succeed("ls", "--config", self.path("config"))


class NoHomeTests(FolderCase):
    async def test_nothing_is_made_where_we_are(self) -> None:
        self.no_user()
        before = sorted(self.folder.rglob("*"))
        for command in (["init", *self.required()], ["passphrase"]):
            self.assertIn("there is no home folder: set HOME", await self.refuse(2, *command))
        line = await self.refuse(2, "init", *self.required(), "--store", "~/store")
        self.assertIn("there is no home folder", line)
        self.assertEqual(sorted(self.folder.rglob("*")), before)

    async def test_folders_that_are_given_will_do(self) -> None:
        self.no_user()
        await self.init("--config", self.path("config"))
        await self.succeed("ls", "--config", self.path("config"))
        os.environ["XDG_CONFIG_HOME"] = self.path("other")
        await self.init("--store", self.path("store"))
        await self.succeed("ls")

    async def test_commands_that_need_none(self) -> None:
        self.no_user()
        self.assertIn("no user: give --user", await self.refuse(2, "ls"))
        await self.succeed("keygen", self.path("key"))
        arguments = "--user", "alice", "--store", self.path("store"), "--key-file", self.path("key")
        await self.succeed("ls", *arguments)
        outcome = await self.succeed("put", "--local-only", *arguments, self.path("key"))
        self.assertEqual(len(outcome.lines), 1)

    async def test_the_home_of_nobody(self) -> None:
        line = await self.refuse(2, "init", *self.required(), "--store", "~no-such-user/store")
        self.assertIn("there is no user 'no-such-user'", line)


class ModeTests(FolderCase):
    def modes(self, *names: str) -> set[int]:
        return {stat.S_IMODE(os.stat(self.path(name)).st_mode) for name in names}

    async def test_only_the_user_can_enter_what_is_made(self) -> None:
        await self.init()
        await self.put_locally()
        for made in ("home", "home/.config/blobman", "home/.local/share/blobman"):
            self.assertEqual(self.modes(made, os.path.dirname(made) or made), {0o700})

    async def test_what_is_there_stays_as_it_is(self) -> None:
        for name, mode in (("home", 0o755), ("home/.config", 0o750)):
            (self.folder / name).mkdir()
            (self.folder / name).chmod(mode)
        await self.init()
        self.assertEqual(self.modes("home"), {0o755})
        self.assertEqual(self.modes("home/.config"), {0o750})
        self.assertEqual(self.modes("home/.config/blobman"), {0o700})

    def test_where_a_file_is(self) -> None:
        path = Path(self.write("file", b""))
        for it in (path, path / "below"):
            self.assertRaises(OSError, folders.make_folder, it)
