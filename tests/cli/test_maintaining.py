from __future__ import annotations

import os
import shutil

from .harness import ServerCase


class MaintainingTests(ServerCase):
    def payloads(self, folder: str) -> list[str]:
        top = self.folder / folder / ".blobman" / "payloads"
        return [str(it) for it in sorted(top.rglob("*")) if it.is_file()]

    async def test_a_backup_and_what_comes_of_it(self) -> None:
        for blob_id, size in (("a", 100), ("b", 300_000)):
            await self.put(b"x" * size, "--id", blob_id)
        data, backup, copy = (self.path(it) for it in ("data", "backup", "restored"))
        outcome = await self.succeed("server", "backup", backup, "--data", data)
        self.assertEqual(outcome.lines, ["2 blobs (301.6 kB): 1 file linked, 0 copied"])
        line = await self.refuse(4, "server", "backup", backup, "--data", data)
        self.assertIn("a backup is made in a new folder", line)
        [record] = (
            await self.succeed("server", "restore", backup, "--data", copy, "--json")
        ).records
        self.assertEqual((record["blobs"], record["data"]), (2, copy))
        usage = await self.succeed("server", "usage", "--data", copy)
        self.assertEqual(usage.lines, (await self.succeed("server", "usage", "--data", data)).lines)
        await self.refuse(4, "server", "restore", backup, "--data", copy)
        await self.refuse(10, "server", "restore", str(self.folder), "--data", self.path("new"))
        await self.succeed("server", "restored", "--data", copy)
        await self.refuse(10, "server", "restored", "--data", data)

    async def test_a_folder_that_no_server_has_used(self) -> None:
        folder = self.path("photos")
        os.mkdir(folder)
        for command in (
            "quota show",
            "server usage",
            "server restored",
            "server check",
            "server check --repair",
            f"server backup {self.path('b')}",
        ):
            outcome = await self.run_command(*command.split(), "--data", folder)
            self.assertIn(f"blobman: no server has used {folder} yet", outcome.err)
            self.assertNotEqual(outcome.code, 0)
        self.assertEqual(os.listdir(folder), [])

    async def test_check(self) -> None:
        for blob_id in ("a", "b"):
            await self.put(b"x" * 300_000, "--id", blob_id)
        check = "server", "check", "--data", self.path("data")
        for more in ([], ["--deep"]):
            outcome = await self.run_command(*check, *more)
            self.assertEqual((outcome.code, outcome.out), (0, ""))
            self.assertEqual(outcome.err, "nothing is damaged\n")
        self.assertEqual((await self.succeed(*check, "--json")).out, "")
        self.assertIn("another server", await self.refuse(2, *check, "--repair"))
        await self.refuse(2, "server", "check", "--data", self.path("home"))
        await self.refuse(2, "server", "check", "--data", self.path("missing"))

    async def test_damage(self) -> None:
        for blob_id in ("a", "b"):
            await self.put(b"x" * 300_000, "--id", blob_id)
        backup, copy = self.path("backup"), self.path("copy")
        await self.succeed("server", "backup", backup, "--data", self.path("data"))
        shutil.copytree(backup, copy)
        [damaged, _] = self.payloads("copy")
        os.truncate(damaged, 10)
        shown = os.path.relpath(damaged, copy)
        outcome = await self.run_command("server", "check", "--data", copy)
        self.assertEqual((outcome.code, outcome.err), (1, ""))
        self.assertTrue(outcome.out.startswith(f"{shown} (blob "), outcome.out)
        outcome = await self.run_command("server", "check", "--data", copy, "--json")
        [record] = outcome.records
        self.assertEqual((outcome.code, record["path"], record["user"]), (1, shown, "alice"))
        self.assertEqual(record["kind"], "payload")
        await self.refuse(2, "server", "check", "--data", copy, "--repair")
        line = await self.refuse(10, "server", "restore", copy, "--data", self.path("restored"))
        self.assertIn(shown, line)

    async def test_repair(self) -> None:
        for blob_id in ("a", "b"):
            await self.put(b"x" * 300_000, "--id", blob_id)
        backup, restored = self.path("backup"), self.path("restored")
        await self.succeed("server", "backup", backup, "--data", self.path("data"))
        await self.succeed("server", "restore", backup, "--data", restored)
        os.unlink(self.payloads("restored")[0])
        check = "server", "check", "--data", restored
        outcome = await self.run_command(*check, "--repair")
        self.assertEqual((outcome.code, len(outcome.lines)), (1, 1), outcome)
        self.assertIn("what was damaged is now in " + restored, outcome.err)
        self.assertEqual((await self.run_command(*check)).code, 0)
