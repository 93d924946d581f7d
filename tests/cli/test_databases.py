"""A server and its administrator, with a catalogue in PostgreSQL."""

from __future__ import annotations

import os
import shlex

from twisted.internet import reactor

from blobman.server.running.configuration import make_service

from ..server.postgres import make_database
from .harness import USER, CommandCase, ServerCase


class ServerTests(ServerCase):
    """Its payloads are in a folder."""

    async def serve_at(self, listen: str) -> int:
        self.database = make_database(self)
        self.let(catalogue=self.database)
        self.service = make_service(
            self.path("data"), self.tokens.path, [listen], reactor, catalogue=self.database
        )
        self.service.startService()
        self.addCleanup(self.service.stopService)
        [port] = await self.service.when_listening()
        return int(port.getHost().port)  # type: ignore[attr-defined]

    async def test_blobs_of_any_size(self) -> None:
        for size in (0, 1, 200_000, 3_000_000):
            content = bytes(size)
            blob_id = await self.put(content)
            self.another_machine()
            outcome = await self.run_command("get", blob_id, "-o", self.path(f"got-{size}"))
            self.assertEqual(outcome.code, 0, outcome)
            with open(self.path(f"got-{size}"), "rb") as file:
                self.assertEqual(file.read(), content)
            self.let(store=self.path("store"))

    async def test_a_running_server_follows(self) -> None:
        await self.put(b"a", "--id", "a")
        await self.succeed("quota", "set", "1kB", USER)
        outcome = await self.run_command("put", self.write("large", b"x" * 1000))
        self.assertEqual(outcome.code, 8, outcome)
        await self.succeed("quota", "unset", USER)
        await self.put(b"x" * 1000, "--id", "b")
        self.assertEqual(
            (await self.succeed("server", "usage")).lines,
            ["user   blobs    size  quota", "alice      2  2.5 kB   none"],
        )

    async def test_restored(self) -> None:
        """Clients compare everything, and lose nothing."""
        await self.put(b"a", "--id", "a")
        await self.put(b"b", "--id", "b")
        await self.succeed("rm", "a")
        await self.run_command("sync")
        self.assertEqual((await self.succeed("server", "restored")).lines, ["It has 3 changes."])
        self.assertEqual((await self.succeed("ls", "--where", "server", "--deleted")).lines, [])
        await self.run_command("sync")
        self.assertEqual((await self.succeed("ls")).lines[0].split()[-1], "b")


class WithoutServerTests(CommandCase):
    def setUp(self) -> None:
        super().setUp()
        database = make_database(self)
        self.url = database.replace("@", ":hidden@", 1)
        self.let(catalogue=self.url, data=self.path("data"))
        os.mkdir(self.path("data"))

    async def test_tokens(self) -> None:
        nothing = await self.run_command("token", "list")
        self.assertIn("no tokens in postgresql://blobman@/", nothing.err)
        outcome = await self.run_command("token", "add", USER)
        listed = (await self.succeed("token", "list")).lines
        self.assertEqual(len(listed), 1)
        self.assertNotIn("hidden", nothing.err + outcome.err)
        # What the first one was told.
        command = outcome.err.partition(": ")[2].strip().removesuffix(" ends it.")
        del os.environ["BLOBMAN_CATALOGUE"]
        await self.succeed(*shlex.split(command)[1:])
        self.let(catalogue=self.url)
        self.assertEqual((await self.run_command("token", "list")).out, "")

    async def test_it_is_chosen_before_a_folder(self) -> None:
        await self.succeed("quota", "set", "1GB", "--default")
        self.assertEqual((await self.succeed("quota", "show")).lines[1].split()[1:], ["1.0", "GB"])
        folder = "--data", self.path("data")
        await self.refuse(10, "quota", "show", *folder)
        self.assertIn("either", await self.refuse(2, "quota", "show", *folder, "--catalogue", "x"))

    async def test_nothing_has_been_made(self) -> None:
        line = await self.refuse(10, "server", "usage")
        self.assertIn("no server has used the database yet", line)
        await self.refuse(10, "server", "restored")

    async def test_where_no_database_is(self) -> None:
        for url in (
            "postgresql://u:hidden@127.0.0.1:1/db",
            "postgresql://u:hidden@/db?host=/nowhere",
            self.url.replace("test", "nosuch"),
        ):
            line = await self.refuse(10, "token", "list", "--catalogue", url)
            self.assertIn("the database can't be reached", line)
            self.assertNotIn("hidden", line)

    async def test_what_is_no_database(self) -> None:
        for url in ("postgresql://u:hidden@[::1/db", "postgres://u:hidden@h/db?nonsense=hidden"):
            line = await self.refuse(2, "token", "list", "--catalogue", url)
            self.assertIn("--catalogue: that is no URL of a database", line)
            self.assertNotIn("hidden", line)

    async def test_a_folder_that_has_a_catalogue(self) -> None:
        """Its blobs would seem to be gone."""
        folder = "--data", self.path("data")
        await self.succeed("quota", "set", "1GB", "--default", *folder)
        line = await self.refuse(2, "serve", *folder, "--listen", "tcp:0", "--tokens", "/dev/null")
        self.assertIn("has blobs that are not in the catalogue", line)
        self.assertNotIn("hidden", line)

    async def test_a_server_says_that_there_are_no_tokens(self) -> None:
        outcome = await self.run_command("serve", "--listen", "nonsense")
        self.assertIn("add USER --catalogue 'postgresql://blobman@/test", outcome.err)
        self.assertNotIn("hidden", outcome.err)
