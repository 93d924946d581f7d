from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence

import click
from click.shell_completion import ShellComplete

from blobman.cli.options import SETTINGS
from blobman.cli.root import root
from blobman.cli.secretfiles import new_secret, read_secret, write_secret

from .harness import NOWHERE, CommandCase, ServerCase

OPTIONAL = (
    "config",
    "insecure",
    "ca",
    "remote_stream",
    "passphrase_file",
    "external_namespaces",
    "limit_rate",
)


class WhereTests(ServerCase):
    async def test_after_the_command_before_it_and_variables(self) -> None:
        self.let(remote=NOWHERE)
        await self.refuse(6, "count")
        await self.succeed("--remote", self.url, "count")
        await self.succeed("count", "--remote", self.url)
        await self.succeed("--remote", NOWHERE, "count", "--remote", self.url)
        await self.refuse(6, "--remote", self.url, "count", "--remote", NOWHERE)

    async def test_what_is_shown_can_be_said_before_the_command(self) -> None:
        counted = (await self.succeed("count", "--json")).out
        self.assertEqual((await self.succeed("--json", "count")).out, counted)
        path = self.write("content", b"x")
        [record] = (await self.succeed("-q", "--json", "put", path)).records
        self.assertEqual(record["file"], path)
        listed = "token", "list", "--tokens", self.path("tokens.json")
        self.assertTrue((await self.succeed("--json", *listed)).records)
        self.assertEqual(
            (await self.succeed("--json", *listed)), await self.succeed(*listed, "--json")
        )
        self.assertEqual((await self.run_command("--quiet", "verify")).err, "")

    async def test_http_to_another_machine(self) -> None:
        # This machine, but not by an address that is only of this machine.
        url = "http://0.0.0.0:1/blobs/"
        self.assertIn("(--insecure)", await self.refuse(2, "count", "--remote", url))
        for variable in ("0", "no", ""):
            self.let(insecure=variable)
            await self.refuse(2, "count", "--remote", url)
        self.assertIn("0.0.0.0:1", await self.refuse(6, "count", "--remote", url, "--insecure"))
        await self.refuse(6, "--insecure", "count", "--remote", url)
        self.let(insecure="1")
        await self.refuse(6, "count", "--remote", url)
        self.let(insecure="perhaps")
        self.assertIn("perhaps", await self.refuse(2, "count", "--remote", url))

    async def test_the_wrong_path_of_the_server(self) -> None:
        url = self.url.replace("/blobs/", "/")
        for command in (["count"], ["ls", "-w", "server"]):
            line = await self.refuse(1, *command, "--remote", url)
            self.assertIn("check it: the server's blobs are at one such as", line)

    async def test_an_empty_variable_is_none(self) -> None:
        self.let(remote="")
        self.assertIn("BLOBMAN_REMOTE", await self.refuse(2, "count"))

    async def test_what_is_missing_is_named(self) -> None:
        for setting in SETTINGS:
            if setting.name in OPTIONAL:
                continue
            with self.subTest(setting.name):
                before = os.environ[setting.variable]
                self.let(**{setting.name: ""})
                line = await self.refuse(2, "sync")
                self.assertIn(f"give {setting.flag}, or set {setting.variable}", line)
                self.let(**{setting.name: before})

    async def test_what_is_wrong(self) -> None:
        for arguments, named in (
            (["--remote", "ftp://host/"], "remote must be"),
            (["--remote-stream", "nonsense"], "remote_stream must be"),
            (["--user", "a/b"], "user must be"),
            (["--ca", self.path("missing")], f"{self.path('missing')!r}: No such file"),
            (["--ca", self.path("key")], "holds no PEM certificate"),
            (["--secret-file", self.write("short", b"s" * 64)], "secret must have"),
            (["--limit-rate", "fast"], "'fast' is no number of bytes"),
            (["--limit-rate", "0"], "--limit-rate: must be above 0; none means no limit"),
        ):
            self.assertIn(named, await self.refuse(2, "sync", *arguments))


class SecretTests(ServerCase):
    async def test_files_that_cant_be_used(self) -> None:
        empty, large = self.write("empty", b"\n"), self.write("large", b"x" * 70_000)
        for option, what in (("--key-file", "key"), ("--secret-file", "secret")):
            line = await self.refuse(2, "sync", option, self.path("missing"))
            self.assertIn(f"no {what} file", line)
            self.assertIn(f"blobman keygen {self.path('missing')} makes one", line)
        for path, reason in ((empty, "is empty"), (large, "too large"), ("/", "Is a directory")):
            line = await self.refuse(2, "sync", "--token-file", path)
            self.assertIn(f"token file {path!r}", line)
            self.assertIn(reason, line)

    async def test_a_token_that_is_none_is_not_shown(self) -> None:
        path = self.write("token", "h\u00fcsh".encode())
        line = await self.refuse(2, "count", "--token-file", path)
        self.assertNotIn("sh ", line)

    async def test_the_wrong_key(self) -> None:
        await self.put(b"a", "--id", "a")
        before = (self.folder / "store" / "alice_blobs.db").read_bytes()
        path = self.path("another key")
        write_secret(path, new_secret())
        await self.refuse(9, "ls", "--key-file", path)
        await self.refuse(9, "put", path, path, "--key-file", path)
        self.assertEqual((self.folder / "store" / "alice_blobs.db").read_bytes(), before)

    async def test_the_wrong_secret(self) -> None:
        blob_id = await self.put(b"a")
        self.another_machine()
        path = self.path("another secret")
        write_secret(path, new_secret())
        await self.refuse(7, "get", blob_id, "--secret-file", path)
        self.assertEqual((await self.succeed("status", "FAILED_DOWNLOAD")).out, f"{blob_id}\n")

    async def test_the_wrong_token(self) -> None:
        path = self.write("another token", b"mellon")
        self.assertNotIn("mellon", await self.refuse(5, "count", "--token-file", path))
        line = await self.refuse(5, "count", "--user", "bob")
        self.assertIn("401", line)

    async def test_the_wrong_authority(self) -> None:
        self.let(ca="")
        self.assertIn("certificate", await self.refuse(5, "count"))

    async def test_a_traceback_only_if_asked_for(self) -> None:
        self.let(remote=NOWHERE, debug="1")
        outcome = await self.run_command("count")
        self.assertEqual(outcome.code, 6)
        self.assertIn("Traceback", outcome.err)
        self.assertEqual(outcome.err.splitlines()[-1].split(":")[0], "blobman")


class SecretFileTests(CommandCase):
    async def test_keygen(self) -> None:
        one, two = self.path("one"), self.path("two")
        self.assertEqual((await self.succeed("keygen", one, two)).out, "")
        self.assertEqual(stat.S_IMODE(os.stat(one).st_mode), 0o600)
        self.assertEqual(len(read_secret("key", one)), 128)
        self.assertNotEqual(read_secret("key", one), read_secret("key", two))

    async def test_keygen_overwrites_nothing(self) -> None:
        one = self.write("one", b"precious")
        line = await self.refuse(4, "keygen", one)
        self.assertEqual(line, f"{one}: it exists, and is not overwritten")
        self.assertEqual((self.folder / "one").read_bytes(), b"precious")

    def test_what_an_editor_made_of_it(self) -> None:
        raw = bytes(range(255, 0, -1)) + b"\n"
        for content, secret in (
            (b"text", b"text"),
            (b"text\n", b"text"),
            (b"text\n\n", b"text"),
            (b" a b \t\n", b" a b"),
            (b"text\r\n", b"text"),
            (b"\xef\xbb\xbftext\r\n", b"text"),
            ("\ufefft\u00e4xt\r\n".encode("utf-16-le"), "t\u00e4xt".encode()),
            ("\ufefft\u00e4xt\r\n".encode("utf-16-be"), "t\u00e4xt".encode()),
            (b"two\nlines\n", b"two\nlines\n"),
            (b"two\r\nlines\r\n", b"two\nlines\n"),
            (b"\xef\xbb\xbftwo\r\nlines", b"two\nlines"),
            ("h\u00fcsch\n".encode(), "h\u00fcsch".encode()),
            (raw, raw),
            (b"\x00\x01\r\n", b"\x00\x01\r\n"),
            (b"\xef\xbb\xbf" + raw, b"\xef\xbb\xbf" + raw),
            (b"\xff\xfe" + raw, b"\xff\xfe" + raw),
        ):
            self.assertEqual(read_secret("key", self.write("file", content)), secret)


def _parameters(names: Sequence[str]) -> Iterable[click.Parameter]:
    """Give those of a command."""
    command: click.Command = root
    for name in names:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    return command.params


class HelpTests(CommandCase):
    async def test_without_a_command(self) -> None:
        outcome = await self.succeed()
        self.assertIn("Blobs:", outcome.out)
        self.assertNotIn("...\n", outcome.out.partition("\n")[2])
        self.assertEqual(outcome.out, (await self.succeed("--help")).out)

    async def test_all_commands_have_help_that_fits(self) -> None:
        for command in (
            *root.commands,
            "token add",
            "token list",
            "token revoke",
            "quota set",
            "quota show",
            "quota unset",
            "server adopt",
            "server backup",
            "server check",
            "server restore",
            "server restored",
            "server usage",
        ):
            outcome = await self.succeed(*command.split(), "--help")
            self.assertNotIn("...\n", outcome.out.partition("\n")[2], command)
            self.assertTrue(outcome.out.startswith(f"Usage: blobman {command} "), outcome.out)
            self.assertLessEqual(max(map(len, outcome.lines)), 80, command)

    async def test_settings_are_a_list_of_their_own(self) -> None:
        own, settings = (await self.succeed("count", "--help")).out.split("\nSettings:\n")
        self.assertIn("--namespace", own)
        self.assertNotIn("--remote", own)
        for setting in SETTINGS:
            self.assertIn(setting.flag, settings)
            self.assertIn(setting.variable, settings)

    async def test_completion(self) -> None:
        for shell, expected in (
            ("bash", "complete -o"),
            ("zsh", "#compdef blobman"),
            ("fish", "complete --no-files"),
        ):
            outcome = await self.succeed("completion", shell)
            self.assertIn(expected, outcome.out)
            self.assertIn(f"_BLOBMAN_COMPLETE={shell}_complete", outcome.out)
        self.assertIn("bash", await self.refuse(2, "completion", "csh"))

    async def test_files_and_folders_are_completed(self) -> None:
        found = set()
        completion = ShellComplete(root, {}, "blobman", "_BLOBMAN_COMPLETE")
        for command in ([], ["token", "add"], *([name] for name in root.commands)):
            for parameter in _parameters(command):
                names = parameter.metavar or ""
                if "FILE" not in names and "DIR" not in names:
                    continue
                found.add(parameter.name)
                kind = "dir" if "DIR" in names else "file"
                is_option = isinstance(parameter, click.Option)
                arguments = [*command, parameter.opts[0]] if is_option else command
                items = completion.get_completions(arguments, "some/pa")
                self.assertEqual([(it.value, it.type) for it in items], [("some/pa", kind)])
        self.assertLessEqual({"config", "files", "output", "data", "save", "token_file"}, found)

    async def test_arguments_are_no_options(self) -> None:
        self.assertNotIn("\n  ID", (await self.succeed("get", "--help")).out)

    async def test_a_list_of_the_server_without_its_url(self) -> None:
        for arguments in (["--remote"], ["--remote", "--long"], ["-n", "mail", "--remote", "x"]):
            self.assertIn("--where server lists", await self.refuse(2, "ls", *arguments))

    async def test_mistakes(self) -> None:
        for arguments in (["nonsense"], ["count", "--nonsense"], ["get"], ["count", "x"]):
            self.assertIn("--help)", await self.refuse(2, *arguments))

    async def test_the_version(self) -> None:
        self.assertRegex(
            (await self.succeed("--version")).out, r"^blobman (\d+\.\d+|\(not installed\))"
        )
