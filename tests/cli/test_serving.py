from __future__ import annotations

import json
import os
import shlex
import stat

from .harness import CommandCase


class TokenTests(CommandCase):
    def setUp(self) -> None:
        super().setUp()
        self.let(tokens=self.path("tokens.json"))

    async def test_add_prints_it_once(self) -> None:
        outcome = await self.run_command("token", "add", "alice")
        made = outcome.out.strip()
        self.assertGreaterEqual(len(made), 40)
        self.assertNotIn(made, (self.folder / "tokens.json").read_text())
        listed = (await self.succeed("token", "list")).out
        self.assertNotIn(made, listed)
        token_id = listed.split()[1]
        tokens = shlex.quote(self.path("tokens.json"))
        command = f"blobman token revoke alice {token_id} --tokens {tokens}"
        self.assertEqual(outcome.err, f"Its id is {token_id}: {command} ends it.\n")
        del os.environ["BLOBMAN_TOKENS"]
        await self.succeed(*shlex.split(command)[1:])

    async def test_labels(self) -> None:
        for label in ("phone", "old laptop"):
            outcome = await self.run_command("token", "add", "alice", "--label", label)
        self.assertIn("blobman token revoke alice 'old laptop' --tokens", outcome.err)
        line = await self.refuse(1, "token", "add", "alice", "--label", "phone")
        self.assertIn("called 'phone' already", line)
        listed = await self.succeed("token", "list")
        self.assertEqual([it.split(None, 4)[4] for it in listed.lines], ["phone", "old laptop"])
        as_json = (await self.succeed("token", "list", "--json")).lines
        self.assertEqual([json.loads(it)["label"] for it in as_json], ["phone", "old laptop"])
        await self.succeed("token", "revoke", "alice", "old laptop")
        self.assertEqual((await self.succeed("token", "list")).lines, listed.lines[:1])

    async def test_add_to_a_file(self) -> None:
        saved = self.path("token")
        outcome = await self.run_command("token", "add", "alice", "--save", saved)
        self.assertEqual((outcome.code, outcome.out), (0, ""))
        self.assertIn((await self.succeed("token", "list")).out.split()[1], outcome.err)
        self.assertEqual(stat.S_IMODE(os.stat(saved).st_mode), 0o600)
        line = await self.refuse(4, "token", "add", "alice", "--save", saved)
        self.assertIn("is not overwritten", line)
        self.assertEqual(len((await self.succeed("token", "list")).lines), 1)

    async def test_list(self) -> None:
        nothing = await self.run_command("token", "list")
        self.assertEqual(nothing, (0, "", f"no tokens in {self.path('tokens.json')} yet\n"))
        self.assertEqual((await self.succeed("token", "list", "--json")).out, "")
        for user in ("alice", "bob", "alice"):
            await self.run_command("token", "add", user)
        listed = (await self.succeed("token", "list")).lines
        self.assertEqual([line.split()[0] for line in listed], ["alice", "bob", "alice"])
        self.assertEqual((await self.succeed("token", "list", "bob")).lines, [listed[1]])

    async def test_revoke(self) -> None:
        for _ in range(3):
            await self.run_command("token", "add", "alice")
        first = (await self.succeed("token", "list")).out.split()[1]
        await self.succeed("token", "revoke", "alice", first)
        self.assertNotIn(first, (await self.succeed("token", "list")).out)
        self.assertIn("no such token", await self.refuse(1, "token", "revoke", "alice", first))
        await self.succeed("token", "revoke", "alice", "--all")
        self.assertEqual((await self.run_command("token", "list")).out, "")
        self.assertIn("of alice", (await self.run_command("token", "list", "alice")).err)

    async def test_revoke_where_there_are_none(self) -> None:
        line = await self.refuse(1, "token", "revoke", "alice", "phone")
        self.assertEqual(line, f"no such token of alice in {self.path('tokens.json')}")
        self.assertEqual(os.listdir(self.folder), [])

    async def test_a_folder_that_is_missing(self) -> None:
        self.let(tokens=self.path("missing/tokens"))
        line = await self.refuse(1, "token", "add", "alice")
        self.assertEqual(line, f"{self.path('missing')}: the folder is missing")

    async def test_mistakes(self) -> None:
        self.assertIn("user must be", await self.refuse(1, "token", "add", "a b"))
        self.assertIn("--all", await self.refuse(2, "token", "revoke", "alice"))
        self.assertIn("--all", await self.refuse(2, "token", "revoke", "alice", "x", "--all"))
        self.let(tokens=self.write("none", b"nonsense"))
        line = await self.refuse(10, "token", "list")
        self.assertIn(f"{self.path('none')} is damaged, or is not a token file", line)


class CatalogueTests(CommandCase):
    """Tokens in a catalogue."""

    def setUp(self) -> None:
        super().setUp()
        self.catalogue = f"sqlite:{self.path('a data folder')}"
        self.let(catalogue=self.catalogue)

    async def test_add_list_and_revoke(self) -> None:
        nothing = await self.run_command("token", "list")
        self.assertEqual(nothing, (0, "", f"no tokens in {self.catalogue} yet\n"))
        outcome = await self.run_command("token", "add", "alice", "--label", "phone")
        self.assertGreaterEqual(len(outcome.out.strip()), 40)
        await self.run_command("token", "add", "alice", "--save", self.path("token"))
        listed = (await self.succeed("token", "list")).lines
        self.assertEqual([it.split()[0] for it in listed], ["alice", "alice"])
        self.assertNotIn(outcome.out.strip(), "".join(listed))
        self.assertIn(
            "called 'phone'", await self.refuse(1, "token", "add", "alice", "--label", "phone")
        )
        # What the first one was told.
        token_id, command = listed[0].split()[1], outcome.err.partition(": ")[2].strip()
        self.assertIn(f"Its id is {token_id}: ", outcome.err)
        del os.environ["BLOBMAN_CATALOGUE"]
        await self.succeed(*shlex.split(command.removesuffix(" ends it."))[1:])
        self.let(catalogue=self.path("a data folder"))
        self.assertEqual((await self.succeed("token", "list")).lines, listed[1:])
        await self.succeed("token", "revoke", "alice", "--all")
        self.assertIn("no such token", await self.refuse(1, "token", "revoke", "alice", "--all"))

    async def test_where_they_are(self) -> None:
        both = ["--tokens", self.path("tokens.json"), "--catalogue", self.catalogue]
        for command in (["list"], ["add", "alice"], ["revoke", "alice", "x"]):
            self.assertIn("either", await self.refuse(2, "token", *command, *both))
        # What is typed wins over a variable.
        await self.run_command("token", "add", "alice", *both[:2])
        self.assertTrue(os.path.exists(self.path("tokens.json")))
        self.let(tokens=self.path("tokens.json"))
        self.assertIn("either", await self.refuse(2, "token", "list"))
        self.assertEqual(len((await self.succeed("token", "list", *both[:2])).lines), 1)
        self.assertEqual((await self.run_command("token", "list", *both[2:])).out, "")

    async def test_mistakes(self) -> None:
        for url in ("mysql://u:secret@host/db", "sqlite:", ""):
            line = await self.refuse(2, "token", "add", "alice", "--catalogue", url)
            self.assertIn("sqlite:DIR", line)
            self.assertNotIn("secret", line)
        line = await self.refuse(1, "token", "add", "alice", "--catalogue", self.path("no/data"))
        self.assertEqual(line, f"{self.path('no')}: the folder is missing")

    async def test_a_server_says_that_there_are_none(self) -> None:
        data = self.path("a data folder")
        settings = "--data", data, "--listen", "nonsense"
        outcome = await self.run_command("serve", *settings)
        command = f"blobman token add USER --catalogue {shlex.quote(self.catalogue)}"
        self.assertIn(f"no tokens in the catalogue yet: {command} makes one", outcome.err)
        await self.run_command("token", "add", "alice")
        outcome = await self.run_command("serve", *settings)
        self.assertNotIn("no tokens", outcome.err)


class ServeTests(CommandCase):
    def setUp(self) -> None:
        super().setUp()
        self.write("tokens.json", b'{"tokens": []}')

    async def test_tokens_that_are_missing(self) -> None:
        outcome = await self.run_command(
            "serve", "--data", self.path("data"), "--tokens", self.path("nosuch"),
            "--listen", "nonsense",
        )  # fmt: skip
        self.assertIn(f"There are no tokens yet: {self.path('nosuch')} is not", outcome.err)

    async def test_where_blobs_can_not_be(self) -> None:
        settings = "--tokens", self.path("tokens.json"), "--listen", "tcp:0:interface=127.0.0.1"
        for options, words in (
            ((), "give --data, or both --catalogue and --payloads"),
            (("--payloads", "s3://bucket"), "give --data, or both"),
            (("--data", self.path("data"), "--payloads", "s3://u:hidden@b"), "--payloads: s3://"),
            (("--data", self.path("data"), "--payloads", "nfs://b"), "--payloads: a store"),
        ):
            line = await self.refuse(2, "serve", *settings, *options)
            self.assertIn(words, line)
            self.assertNotIn("hidden", line)

    async def test_what_cant_be_listened_on(self) -> None:
        settings = "--data", self.path("data"), "--tokens", self.path("tokens.json")
        for endpoint in ("nonsense", "tcp", "nonsense:1", "tcp:x", "tcp:1:nonsense=1"):
            line = await self.refuse(2, "serve", *settings, "--listen", endpoint)
            self.assertIn(f"--listen {endpoint}: ", line)

    async def test_what_cant_be_listened_on_for_others(self) -> None:
        settings = [
            "--data", self.path("data"), "--tokens", self.path("tokens.json"),
            "--listen", "tcp:0:interface=127.0.0.1",
        ]  # fmt: skip
        line = await self.refuse(2, "serve", *settings, "--incoming", "tcp:0")
        self.assertIn("--incoming needs --incoming-tokens", line)
        for option in ("--incoming", "--metrics"):
            line = await self.refuse(
                2,
                "serve",
                *settings,
                "--incoming-tokens",
                self.path("tokens.json"),
                option,
                "nonsense:1",
            )
            self.assertIn(f"{option} nonsense:1: ", line)
        line = await self.refuse(2, "serve", *settings, "--grace", "-1")
        self.assertIn("--grace", line)

    async def test_an_address_that_is_taken(self) -> None:
        settings = "--data", self.path("data"), "--tokens", self.path("tokens.json")
        # Relative, because a socket's path can't be long.
        path = os.path.relpath(self.path("socket"))
        line = await self.refuse(
            1, "serve", *settings, "--listen", f"unix:{path}", "--listen", f"unix:{path}"
        )
        self.assertIn(path, line)

    async def test_an_address_that_is_too_long(self) -> None:
        settings = "--data", self.path("data"), "--tokens", self.path("tokens.json")
        path = self.path("s" * 108)
        line = await self.refuse(1, "serve", *settings, "--listen", f"unix:{path}")
        self.assertIn(path, line)
