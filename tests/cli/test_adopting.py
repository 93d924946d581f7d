"""``blobman server adopt``, on a folder of before there was a catalogue."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from .harness import CommandCase

SAMPLE = Path(__file__).parents[1] / "vectors" / "blobman-server-dir" / "data"

TEXT = [
    "10 blobs, 83.3 kB",
    "from the journal  8",
    "with flags        2",
    "tombstones        1",
    "quotas            1",
    "odd               0",
]


class AdoptTests(CommandCase):
    def setUp(self) -> None:
        super().setUp()
        shutil.copytree(SAMPLE, self.path("data"))
        self.let(data=self.path("data"))

    def files(self) -> list[str]:
        return sorted(str(it) for it in Path(self.path("data")).rglob("*"))

    async def test_dry_run(self) -> None:
        before = self.files()
        outcome = await self.succeed("server", "adopt", "--dry-run")
        self.assertEqual(outcome.lines, TEXT)
        self.assertEqual(self.files(), before)

    async def test_for_good(self) -> None:
        self.assertEqual((await self.succeed("server", "adopt")).lines, TEXT)
        [alice, bob] = (await self.succeed("server", "usage", "--json")).records
        self.assertEqual((alice["blobs"], bob["quota"]), (9, 1_000_000))
        for options in ([], ["--dry-run"]):
            outcome = await self.run_command("server", "adopt", *options)
            self.assertEqual((outcome.code, outcome.out), (0, ""))
            self.assertIn("Nothing to do", outcome.err)

    async def test_what_is_odd(self) -> None:
        os.makedirs(self.path("data/a b\n"))
        outcome = await self.succeed("server", "adopt", "--dry-run")
        self.assertEqual(outcome.lines[0], r"a b\n: no user can have that name")
        self.assertEqual(outcome.lines[-1], "odd               1")
        odd, report = (await self.succeed("server", "adopt", "--json")).records
        self.assertEqual(odd, {"odd": "a b\n", "why": "no user can have that name"})
        self.assertEqual((report["odd"], report["blobs"], report["dry_run"]), (1, 10, False))

    async def test_quotas_come_after_it(self) -> None:
        # Else what there is would be hidden behind a new catalogue.
        said = await self.refuse(10, "quota", "set", "1GB", "--default")
        self.assertIn("blobman server adopt", said)
        await self.refuse(10, "quota", "unset", "bob")
        await self.refuse(10, "quota", "show")
        await self.refuse(10, "server", "usage")
        self.assertEqual((await self.succeed("server", "adopt")).lines, TEXT)
        await self.succeed("quota", "set", "1GB", "--default")
        shown = [it["quota"] for it in (await self.succeed("quota", "show", "--json")).records]
        self.assertEqual(shown, [10**9, 10**6])
