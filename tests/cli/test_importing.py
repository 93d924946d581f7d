"""``blobman import-soledad``, on the database that Soledad wrote."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from .harness import CommandCase

SAMPLE = Path(__file__).parent.parent / "vectors" / "soledad-local-db"


class ImportTests(CommandCase):
    def setUp(self) -> None:
        super().setUp()
        self.store = self.folder / "store"
        self.store.mkdir()
        shutil.copy(SAMPLE / "alice_blobs.db", self.store)
        key = json.loads((SAMPLE / "alice_blobs.json").read_text())["key"]
        self.let(store=str(self.store), user="alice", key_file=self.write("key", key.encode()))

    def names(self) -> list[str]:
        return sorted(path.name for path in self.store.iterdir())

    async def test_dry_run(self) -> None:
        before = (self.store / "alice_blobs.db").read_bytes()
        outcome = await self.succeed("import-soledad", "--dry-run")
        self.assertEqual(
            outcome.lines,
            [
                "7 blobs, 5 of them here, 113.6 kB",
                "SYNCED            2",
                "PENDING_UPLOAD    1",
                "PENDING_DOWNLOAD  1",
                "PENDING_DELETE    1",
                "LOCAL_ONLY        2",
            ],
        )
        self.assertEqual(self.names(), ["alice_blobs.db"])
        self.assertEqual((self.store / "alice_blobs.db").read_bytes(), before)

    async def test_import(self) -> None:
        outcome = await self.succeed("import-soledad", "--json")
        (record,) = outcome.records
        self.assertEqual((record["blobs"], record["size"], record["dry_run"]), (7, 113582, False))
        self.assertEqual(record["kept"], str(self.store / "alice_blobs.db.soledad"))
        self.assertEqual((record["remarks"], record["statuses"]["LOCAL_ONLY"]), ({}, 2))
        self.assertIn("alice_blobs.db.soledad", self.names())
        listed = await self.succeed("ls")
        self.assertEqual(listed.lines, ["synced-default", "local-only", "empty", "waiting"])

    async def test_done_already(self) -> None:
        self.assertIn("is kept as", (await self.succeed("import-soledad")).lines[-1])
        outcome = await self.run_command("import-soledad")
        self.assertEqual((outcome.code, outcome.out), (0, ""))
        self.assertIn("Nothing to do", outcome.err)

    async def test_wrong_key(self) -> None:
        self.let(key_file=self.write("other", b"another key"))
        for option in ([], ["--dry-run"]):
            said = await self.refuse(9, "import-soledad", *option)
            self.assertEqual(said, f"the key does not open {self.store / 'alice_blobs.db'}")
        self.assertEqual(self.names(), ["alice_blobs.db"])

    async def test_nothing_there(self) -> None:
        self.let(user="bob")
        said = await self.refuse(10, "import-soledad")
        self.assertEqual(said, f"there is no {self.store / 'bob_blobs.db'}")
        self.let(user="b/o/b")
        self.assertIn("user must be", await self.refuse(2, "import-soledad"))
