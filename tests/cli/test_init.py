from __future__ import annotations

import json
import os
import stat
from typing import Any

from blobman.cli.configuration import Configuration
from blobman.cli.seeds import SEED_SIZE, read_code, write_code

from .harness import NOWHERE, CommandCase, Outcome, ServerCase

PASSPHRASE = b"correct horse battery staple\n"


class SetUpCase(CommandCase):
    """Has a passphrase, and a folder for the configuration."""

    def setUp(self) -> None:
        super().setUp()
        self.write("passphrase", PASSPHRASE)
        self.write("token", b"mellon\n")
        self.let(config=self.path("config"), passphrase_file=self.path("passphrase"))

    async def init(self, *options: str) -> str:
        """Set up, and give the recovery code."""
        outcome = await self.run_command("init", *self.required(), *options)
        self.assertEqual(outcome.code, 0, outcome)
        self.assertNotIn(outcome.out.strip() or "nothing", outcome.err)
        return outcome.out.strip()

    def required(self) -> list[str]:
        server = ["--remote", NOWHERE, "--offline"]
        return [*server, "--user", "alice", "--token-file", self.path("token")]

    def settings(self, folder: str = "config") -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / folder / "settings.json").read_text())
        return found

    def keys(self, folder: str = "config") -> bytes:
        return (self.folder / folder / "keys.json").read_bytes()

    async def put_locally(self) -> Outcome:
        """Put a blob that stays here, with the key that opens the store."""
        return await self.run_command("put", self.write("content", b"c"), "--local-only")


class InitTests(SetUpCase):
    async def test_what_it_makes(self) -> None:
        code = await self.init()
        folder = self.folder / "config"
        self.assertEqual(sorted(os.listdir(folder)), ["keys.json", "settings.json", "token"])
        self.assertEqual(stat.S_IMODE(folder.stat().st_mode), 0o700)
        for name in os.listdir(folder):
            self.assertEqual(stat.S_IMODE((folder / name).stat().st_mode), 0o600, name)
        self.assertEqual(
            self.settings(),
            {
                "format": 1,
                "remote": NOWHERE,
                "user": "alice",
                "token_file": "token",
                "store": "store",
            },
        )
        self.assertEqual((folder / "token").read_bytes(), b"mellon\n")
        self.assertEqual(len(read_code(code)), SEED_SIZE)
        self.assertEqual(json.loads(self.keys())["kdf"]["memory_kib"], 64 * 1024)

    async def test_the_screen(self) -> None:
        outcome = await self.run_command("init", *self.required())
        self.assertLessEqual(max(map(len, outcome.lines)), 80)
        *lines, last = outcome.err.splitlines()
        self.assertLessEqual(max(map(len, lines)), 80)
        self.assertEqual(last, f"All set, in {self.folder / 'config'}")
        self.assertIn("went to standard output", outcome.err)

    async def test_the_keys_are_used(self) -> None:
        await self.init()
        self.assertEqual((await self.put_locally()).err, "")
        self.assertEqual((await self.succeed("status")).out.split(), ["LOCAL_ONLY", "1"])
        await self.refuse(9, "status", "--passphrase-file", self.write("other", b"open sesame"))

    async def test_no_passphrase_without_need(self) -> None:
        await self.init()
        self.let(passphrase_file=self.path("missing"))
        await self.refuse(6, "count")
        await self.refuse(6, "ls", "--where", "server")
        await self.refuse(6, "flags", "a")
        await self.run_command("token", "list", "--tokens", self.path("tokens"))
        self.assertIn("no passphrase file", await self.refuse(2, "ls"))
        self.assertIn("it exists", await self.refuse(4, "get", "a", "-o", self.path("token")))
        key = self.path("key")
        await self.succeed("keygen", key)
        await self.succeed("ls", "--key-file", key)

    async def test_options_and_variables_win(self) -> None:
        await self.init("--limit-rate", "5kB")
        self.let(remote="ftp://variable/")
        self.assertIn("remote must be", await self.refuse(2, "count"))
        await self.refuse(6, "count", "--remote", NOWHERE)
        self.let(remote="")
        await self.refuse(6, "count")
        self.assertEqual(self.settings()["limit_rate"], "5kB")

    async def test_http_to_another_machine(self) -> None:
        url = "http://0.0.0.0:1/blobs/"
        self.assertIn("(--insecure)", await self.refuse(2, "init", "--remote", url))
        await self.init("--remote", url, "--insecure")
        self.assertEqual(self.settings()["insecure"], "yes")
        self.assertIn("0.0.0.0:1", await self.refuse(6, "count"))

    async def test_without_a_server(self) -> None:
        await self.init("--remote", "none")
        self.assertNotIn("remote", self.settings())
        await self.put_locally()
        self.assertIn("no server: give --remote", await self.refuse(2, "count"))

    async def test_authorities_are_copied(self) -> None:
        from ..support import authority

        ca = authority().write(self.path("authority.pem"))
        await self.init("--ca", ca, "--store", self.path("elsewhere"))
        os.unlink(ca)
        self.assertEqual(self.settings()["ca"], "ca.pem")
        self.assertEqual(self.settings()["store"], self.path("elsewhere"))
        await self.refuse(6, "count")

    async def test_a_folder_that_is_moved(self) -> None:
        await self.init()
        await self.put_locally()
        os.rename(self.path("config"), self.path("moved"))
        outcome = await self.succeed("status", "--config", self.path("moved"))
        self.assertEqual(outcome.out.split(), ["LOCAL_ONLY", "1"])

    async def test_the_platforms_folders(self) -> None:
        self.let(config="")
        await self.init()
        folder = Configuration(None).path
        self.assertTrue((folder / "keys.json").exists())
        self.assertTrue(folder.is_relative_to(self.path("home")))
        await self.put_locally()
        self.assertTrue(os.path.exists(self.path("home/data/blobman/alice_blobs.db")))

    async def test_paths_can_be_relative(self) -> None:
        here = os.getcwd()
        os.chdir(self.folder)
        self.addCleanup(os.chdir, here)
        await self.init("--store", "elsewhere", "--token-file", "token", "--config", "relative")
        self.assertEqual(self.settings("relative")["store"], self.path("elsewhere"))


class RefusalTests(SetUpCase):
    async def refuse_init(self, code: int, *options: str) -> str:
        """Refuse, and leave things as they were."""
        before = sorted(self.folder.rglob("*"))
        line = await self.refuse(code, "init", *self.required(), *options)
        self.assertEqual(sorted(self.folder.rglob("*")), before)
        return line

    async def test_what_is_wrong(self) -> None:
        short = self.write("short", b"1234567\n")
        latin = self.write("latin", "h\u00fcsch, und lang".encode("latin-1"))
        for options, named in (
            (["--remote", "ftp://host/"], "remote must be"),
            (["--remote-stream", "host"], "remote_stream must be"),
            (["--user", "a/b"], "user must"),
            (["--ca", self.path("missing")], f"{self.path('missing')}: No such file"),
            (["--ca", self.path("token")], "no PEM certificate"),
            (["--token-file", self.path("missing")], "there is no token file"),
            (["--store", self.path("token")], "is not a folder"),
            (["--limit-rate", "fast"], "--limit-rate: 'fast' is no number"),
            (["--limit-rate", "0"], "--limit-rate: must be above 0"),
            (["--code-file", self.path("token")], "--code-file is for --recover"),
            (["--passphrase-file", short], "8 characters or more"),
            (["--passphrase-file", latin], "UTF-8"),
            (["--passphrase-file", self.path("missing")], "there is no passphrase file"),
        ):
            self.assertIn(named, await self.refuse_init(2, *options))

    async def test_keys_that_others_made(self) -> None:
        self.let(key_file=self.path("token"))
        self.assertIn("leave out --key-file and BLOBMAN_KEY_FILE", await self.refuse_init(2))

    async def test_it_overwrites_nothing(self) -> None:
        await self.init()
        before = self.keys(), self.settings()
        line = await self.refuse_init(4)
        self.assertIn("settings.json: this is set up already", line)
        self.assertIn(f"put another token into {self.path('config/token')}", line)
        os.unlink(self.path("config/settings.json"))
        self.assertIn("keys.json: keys without settings", await self.refuse_init(4))
        self.assertEqual(self.keys(), before[0])

    async def test_a_token_in_its_place(self) -> None:
        self.write("config/token", b"mellon\n")
        self.assertIn("token: it exists", await self.refuse_init(4))
        await self.init("--token-file", self.path("config/token"))
        self.assertEqual(self.settings()["token_file"], "token")

    async def test_a_store_with_blobs(self) -> None:
        self.write("config/store/alice_blobs.db", b"")
        self.assertIn("new keys can't open", await self.refuse_init(4))

    async def test_a_folder_that_cant_be_made(self) -> None:
        self.assertIn("File exists", await self.refuse_init(4, "--config", self.path("token")))

    async def test_what_fails_half_way_leaves_nothing(self) -> None:
        self.patch(Configuration, "write_settings", _fail)
        outcome = await self.run_command("init", *self.required())
        self.assertEqual(outcome.code, 1)
        self.assertEqual(os.listdir(self.folder / "config"), [])

    async def test_no_configuration_where_one_is_named(self) -> None:
        line = await self.refuse(2, "count")
        self.assertIn(f"blobman --config {self.path('config')} init makes them", line)

    async def test_settings_that_cant_be_used(self) -> None:
        for content, named in (
            (b"{", "not JSON"),
            (b"[]", "no format 1"),
            (b"[" * 10_000, "not JSON"),
            (b"{}", "no format 1"),
            (b'{"format": 2}', "no format 1"),
            (b'{"format": 1, "rmote": ""}', "no setting 'rmote'"),
            (b'{"format": 1, "config": "a"}', "no setting 'config'"),
            (b'{"format": 1, "remote": 5}', "must be text"),
            (b"\xff", "not JSON"),
            (b" " * 100_000, "too large"),
        ):
            path = self.write("config/settings.json", content)
            line = await self.refuse(2, "count")
            self.assertIn(path, line)
            self.assertIn(named, line)

    async def test_keys_that_cant_be_used(self) -> None:
        await self.init()
        for content in (b"", b"{}", self.keys()[:-10], b" " * 10_000):
            path = self.write("config/keys.json", content)
            self.assertIn(path, await self.refuse(2, "status"))
        os.unlink(path)
        self.assertIn("no key for the local store: give --key-file", await self.refuse(2, "status"))


def _fail(*arguments: object) -> None:
    raise OSError(28, "No space left on device")


class RecoverTests(SetUpCase):
    async def recover(self, code: str, *options: str) -> Outcome:
        file = self.write("code", code.encode())
        return await self.run_command("init", "--recover", "--code-file", file, *options)

    async def test_on_another_machine(self) -> None:
        code = await self.init()
        await self.put_locally()
        self.let(config=self.path("other"))
        outcome = await self.recover(f" {code.lower()}\n", *self.required())
        self.assertEqual((outcome.code, outcome.out), (0, ""), outcome)
        self.assertNotEqual(self.keys("other"), self.keys("config"))
        # It has the key of the first one's store.
        await self.succeed("ls", "--store", self.path("config/store"))

    async def test_a_lost_passphrase(self) -> None:
        code = await self.init("--limit-rate", "5kB")
        await self.put_locally()
        before = self.settings()
        new = self.write("new", b"another one, then")
        outcome = await self.recover(code, "--passphrase-file", new)
        self.assertEqual(outcome.code, 0, outcome)
        self.assertEqual(self.settings(), before)
        await self.refuse(9, "ls")
        await self.succeed("ls", "--passphrase-file", new)

    async def test_other_settings(self) -> None:
        code = await self.init()
        self.write("token", b"friend")
        changed = "--token-file", self.path("token"), "--user", "bob"
        await self.recover(code, *changed, "--offline")
        self.assertEqual((self.folder / "config" / "token").read_text(), "friend\n")
        self.assertEqual(self.settings()["user"], "bob")
        await self.recover(code, "--remote", "none")
        self.assertNotIn("remote", self.settings())

    async def test_variables_change_no_settings(self) -> None:
        code = await self.init()
        before = self.settings()
        other = self.write("other", b"friend")
        self.let(remote="https://other/blobs/", user="bob", limit_rate="5kB", token_file=other)
        self.let(store=self.path("elsewhere"), remote_stream="https://other/stream/")
        self.assertEqual((await self.recover(code)).code, 0)
        self.assertEqual(self.settings(), before)
        self.assertEqual((self.folder / "config" / "token").read_text(), "mellon\n")
        await self.recover(code, "--limit-rate", "7kB")
        self.assertEqual(self.settings(), {**before, "limit_rate": "7kB"})

    async def test_variables_set_up_another_machine(self) -> None:
        code = await self.init()
        self.let(config=self.path("other"), remote=NOWHERE, limit_rate="5kB")
        given = "--user", "alice", "--token-file", self.path("token")
        await self.recover(code, *given, "--offline")
        self.assertEqual(self.settings("other")["limit_rate"], "5kB")

    async def test_the_code_of_other_keys(self) -> None:
        await self.init()
        before = self.keys()
        outcome = await self.recover(write_code(bytes(SEED_SIZE)))
        self.assertEqual(outcome.code, 2)
        self.assertIn("code of other keys", outcome.err)
        self.assertEqual(self.keys(), before)

    async def test_mistakes(self) -> None:
        code = await self.init()
        before = self.keys()
        for wrong in (code[:-1], code[:-1] + "2", f"{code}A", "", "!", "\xff"):
            outcome = await self.recover(wrong if not code.endswith("2") else wrong + "3")
            self.assertEqual(outcome.code, 2, outcome)
            self.assertEqual(self.keys(), before)

    async def test_damaged_keys(self) -> None:
        code = await self.init()
        await self.put_locally()
        path = self.write("config/keys.json", b"garbage")
        outcome = await self.recover(code[:-5])
        self.assertEqual(outcome.code, 2)
        self.assertTrue(os.path.exists(path))
        await self.recover(code)
        self.assertEqual((self.folder / "config/keys.damaged").read_bytes(), b"garbage")
        await self.succeed("ls")

    async def test_damaged_keys_that_a_link_leads_to(self) -> None:
        code = await self.init()
        await self.put_locally()
        (self.folder / "volume").mkdir()
        self.write("volume/keys.json", b"garbage")
        os.unlink(self.path("config/keys.json"))
        os.symlink("../volume/keys.json", self.path("config/keys.json"))
        await self.recover(code)
        self.assertTrue(os.path.islink(self.path("config/keys.json")))
        self.assertEqual((self.folder / "volume/keys.damaged").read_bytes(), b"garbage")
        await self.succeed("ls")

    async def test_missing_keys(self) -> None:
        code = await self.init()
        await self.put_locally()
        os.unlink(self.path("config/keys.json"))
        await self.recover(code)
        await self.succeed("ls")


class PassphraseTests(SetUpCase):
    async def test_change_it(self) -> None:
        code = await self.init()
        await self.put_locally()
        new = self.write("new", b"another one, then")
        outcome = await self.run_command("passphrase", "--new-passphrase-file", new)
        self.assertEqual(outcome, (0, "", "The passphrase is changed.\n"))
        await self.refuse(9, "ls")
        self.let(passphrase_file=new)
        await self.succeed("ls")
        await self.succeed_to_recover(code)

    async def succeed_to_recover(self, code: str) -> None:
        file = self.write("code", code.encode())
        outcome = await self.run_command("init", "--recover", "--code-file", file)
        self.assertEqual(outcome.code, 0, outcome)

    async def test_what_is_wrong(self) -> None:
        await self.init()
        before = self.keys()
        new, short = self.write("new", b"another one, then"), self.write("short", b"short")
        wrong = self.write("wrong", b"open sesame")
        for code, options in (
            (9, ["--passphrase-file", wrong, "--new-passphrase-file", new]),
            (2, ["--new-passphrase-file", short]),
            (2, ["--new-passphrase-file", self.path("missing")]),
        ):
            await self.refuse(code, "passphrase", *options)
            self.assertEqual(self.keys(), before)

    async def test_without_keys(self) -> None:
        self.assertIn("see blobman init", await self.refuse(2, "passphrase"))

    async def test_a_file_that_is_a_link(self) -> None:
        await self.init()
        os.rename(self.path("config/keys.json"), self.path("elsewhere.json"))
        os.symlink(self.path("elsewhere.json"), self.path("config/keys.json"))
        before = (self.folder / "elsewhere.json").read_bytes()
        await self.run_command("passphrase", "--new-passphrase-file", self.path("passphrase"))
        self.assertTrue(os.path.islink(self.path("config/keys.json")))
        self.assertNotEqual((self.folder / "elsewhere.json").read_bytes(), before)

    async def test_a_full_disk(self) -> None:
        await self.init()
        before = self.keys()
        self.patch(os, "fsync", _fail)
        new = self.write("new", b"another one, then")
        outcome = await self.run_command("passphrase", "--new-passphrase-file", new)
        self.assertEqual(outcome.code, 1)
        self.assertEqual(self.keys(), before)
        self.assertEqual(len(os.listdir(self.folder / "config")), 3)


class ServerTests(ServerCase):
    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        names = ("remote", "user", "token_file", "ca")
        values = {name: os.environ[f"BLOBMAN_{name.upper()}"] for name in names}
        self.options = [
            it for name, value in values.items() for it in (f"--{name.replace('_', '-')}", value)
        ]
        self.settings = dict.fromkeys((*names, "store", "key_file", "secret_file"), "")
        self.kept = {name: os.environ[f"BLOBMAN_{name.upper()}"] for name in self.settings}
        self.let(**self.settings, passphrase_file=self.write("passphrase", PASSPHRASE))
        self.let(config=self.path("laptop"))

    async def test_two_machines(self) -> None:
        code = (await self.run_command("init", *self.options)).out
        await self.succeed("put", self.write("letter", b"Dear Bob"), "--id", "letter")
        self.let(config=self.path("phone"))
        file = self.write("code", code.encode())
        await self.run_command("init", "--recover", "--code-file", file, *self.options)
        self.assertEqual((await self.succeed("get", "letter")).out, "Dear Bob")

    async def test_a_server_that_cant_be_used(self) -> None:
        other = self.write("other", b"mellon")
        wrong_path = self.url.replace("/blobs/", "/nothing/")
        code_file = self.write("code", write_code(bytes(SEED_SIZE)).encode())
        for options, code, named in (
            (["--token-file", other], 5, "401"),
            (["--user", "bob"], 5, "401"),
            (["--remote", NOWHERE], 6, "--offline sets this up without asking the server"),
            (["--remote", wrong_path], 1, "the server's blobs are at one such as"),
        ):
            for recover in [], ["--recover", "--code-file", code_file]:
                line = await self.refuse(code, "init", *self.options, *options, *recover)
                self.assertIn(named, line)
                self.assertFalse((self.folder / "laptop").exists())

    async def test_blobs_that_new_keys_cant_open(self) -> None:
        self.let(**self.kept, config="")
        await self.put(b"a", "--id", "a")
        self.let(**self.settings, config=self.path("laptop"))
        line = await self.refuse(2, "init", *self.options)
        self.assertIn("the server has a blob of alice already, which new keys can't open", line)
        self.assertFalse((self.folder / "laptop").exists())
        self.assertEqual((await self.run_command("init", *self.options, "--offline")).code, 0)
        line = await self.refuse(9, "sync")
        self.assertIn("sealed with another secret", line)

    async def test_a_new_passphrase_needs_no_server(self) -> None:
        code = (await self.run_command("init", *self.options)).out
        await self.service.stopService()
        file = self.write("code", code.encode())
        outcome = await self.run_command("init", "--recover", "--code-file", file)
        self.assertEqual(outcome.code, 0, outcome)
        recover = "init", "--recover", "--code-file", file, "--token-file", self.path("token")
        self.assertIn("--offline", await self.refuse(6, *recover))
        self.assertEqual((await self.run_command(*recover, "--offline")).code, 0)
