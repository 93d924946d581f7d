from __future__ import annotations

from pathlib import Path

from .harness import NOWHERE, ServerCase


class ListTests(ServerCase):
    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        await self.put(b"1", "--id", "sent")
        await self.put(b"12", "--id", "kept", "--local-only")
        await self.run_command("put", self.write("c", b"123"), "--id", "waits", "--remote", NOWHERE)
        here = self.path("store")
        self.another_machine()
        await self.put(b"1234", "--id", "theirs")
        self.let(store=here)

    async def test_here(self) -> None:
        self.assertEqual((await self.succeed("ls")).lines, ["sent", "kept", "waits"])

    async def test_here_needs_no_server(self) -> None:
        self.let(remote="", token_file="", secret_file="")
        self.assertEqual(len((await self.succeed("ls", "--where", "local")).lines), 3)

    async def test_here_with_status(self) -> None:
        self.assertEqual(
            sorted((await self.succeed("ls", "--long")).lines),
            [
                "kept   local  LOCAL_ONLY      2 B",
                "sent   local  SYNCED          1 B",
                "waits  local  PENDING_UPLOAD  3 B",
            ],
        )

    async def test_there(self) -> None:
        outcome = await self.succeed("ls", "--where", "server", "--order", "date")
        self.assertEqual(outcome.lines, ["sent", "theirs"])
        outcome = await self.succeed("ls", "--where", "server", "--order", "-date")
        self.assertEqual(outcome.lines, ["theirs", "sent"])

    async def test_there_needs_neither_store_nor_keys(self) -> None:
        self.let(store="", key_file="", secret_file="")
        self.assertEqual(len((await self.succeed("ls", "--where", "server")).lines), 2)

    async def test_there_by_flag(self) -> None:
        await self.succeed("flags", "theirs", "PENDING")
        outcome = await self.succeed("ls", "--where", "server", "--flag", "PENDING")
        self.assertEqual(outcome.lines, ["theirs"])

    async def test_there_deleted(self) -> None:
        await self.succeed("rm", "sent")
        outcome = await self.succeed("ls", "--where", "server", "--deleted")
        self.assertEqual(outcome.lines, ["sent"])

    async def test_both(self) -> None:
        self.assertEqual(
            sorted((await self.succeed("ls", "--where", "both")).lines),
            [
                "kept    local   LOCAL_ONLY      2 B",
                "sent    both    SYNCED          1 B",
                "theirs  server  -                 -",
                "waits   local   PENDING_UPLOAD  3 B",
            ],
        )

    async def test_both_for_programs(self) -> None:
        records = (await self.succeed("ls", "--where", "both", "--json")).records
        self.assertEqual(
            {record.pop("id"): record for record in records},
            {
                "kept": {
                    "here": True,
                    "there": False,
                    "status": "LOCAL_ONLY",
                    "size": 2,
                    "external": False,
                },
                "sent": {
                    "here": True,
                    "there": True,
                    "status": "SYNCED",
                    "size": 1,
                    "external": False,
                },
                "theirs": {"here": False, "there": True},
                "waits": {
                    "here": True,
                    "there": False,
                    "status": "PENDING_UPLOAD",
                    "size": 3,
                    "external": False,
                },
            },
        )

    async def test_nothing(self) -> None:
        for where in ("local", "server", "both"):
            self.assertEqual((await self.succeed("ls", "-n", "empty", "--where", where)).out, "")

    async def test_options_that_are_for_the_server(self) -> None:
        for option in (["--deleted"], ["--order", "date"], ["--flag", "FAILED"]):
            self.assertIn("--where server", await self.refuse(2, "ls", *option))
        self.assertIn("--long", await self.refuse(2, "ls", "--where", "server", "--long"))

    async def test_count(self) -> None:
        self.assertEqual((await self.succeed("count")).out, "2\n")
        self.assertEqual((await self.succeed("count", "--json")).records, [{"count": 2}])
        self.assertEqual((await self.succeed("count", "-n", "empty")).out, "0\n")

    async def test_status(self) -> None:
        await self.put(b"", "--id", "x", "-n", "other")
        self.assertEqual(
            (await self.succeed("status")).lines,
            ["SYNCED          2", "PENDING_UPLOAD  1", "LOCAL_ONLY      1"],
        )
        self.assertEqual((await self.succeed("status", "-n", "other")).lines, ["SYNCED  1"])
        self.assertEqual((await self.succeed("status", "-n", "empty")).lines, [])
        self.assertEqual(
            (await self.succeed("status", "--json")).records,
            [{"SYNCED": 2, "PENDING_UPLOAD": 1, "LOCAL_ONLY": 1}],
        )

    async def test_files_that_the_store_does_not_know(self) -> None:
        (database,) = Path(self.path("store")).glob("*.db")
        folder = database.with_suffix(".payloads")
        folder.mkdir(exist_ok=True)
        (folder / ("ab" * 16)).write_bytes(b"of a newer database")
        outcome = await self.run_command("status")
        self.assertEqual((outcome.code, len(outcome.lines)), (0, 3))
        said = f"blobman: 1 file of blobs that the store does not know: {folder / 'found'}\n"
        self.assertIn(said, outcome.err)

    async def test_one_status(self) -> None:
        self.assertEqual((await self.succeed("status", "local_only")).lines, ["kept"])
        self.assertEqual((await self.succeed("status", "FAILED_UPLOAD")).lines, [])
        records = (await self.succeed("status", "SYNCED", "--json")).records
        self.assertEqual(records, [{"id": "sent"}])
