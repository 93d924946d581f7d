"""Whoever is killed while a folder is taken over leaves it as it was, or taken over."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from twisted.internet import reactor

from blobman.model import Flags

from ....test_kills import Victim
from .case import AdoptionCase
from .older import DATE, OlderFolder, record, sealed

KILLS = int(os.environ.get("BLOBMAN_TEST_KILLS", "6"))
"""How many kills; set it to 200 or more for a long run by hand."""

LONGEST = 0.02
"""Seconds from the line at which a process is marked for its end to the kill."""

BLOBS = 400

Name = tuple[str, str, str]


class KillTests(AdoptionCase):
    timeout = 900 + 10 * KILLS

    async def test_killed_at_random(self) -> None:
        chance = random.Random(os.environ.get("BLOBMAN_TEST_SEED", "1"))
        for number in range(KILLS):
            self.older = OlderFolder(os.path.abspath(self.mktemp()))
            self.root = str(self.older.path)
            self.write(number)
            before = self.files()
            said = await self.begin(chance)
            self.assertTrue(said[0].isdigit(), said)
            if chance.randrange(2):
                await self.begin(chance)
            self.assertEqual(self.files(), before)
            await self.check(number)

    def write(self, number: int) -> None:
        """Write blobs with and without flags, tombstones, and what is in the journal only."""
        for name in self.names(BLOBS):
            self.older.put(name, sealed(name[2]), b'["FAILED"]' if name[2].endswith("0") else b"")
        for blob_id in ("gone", "b3", f"gone{number}"):
            self.older.tombstone(("user0", "default", blob_id))
        puts = [record(b"D", name, sealed("j" + name[2]), DATE) for name in self.journalled()]
        self.older.journal(1, b"".join(puts))

    def names(self, count: int) -> Sequence[Name]:
        return [(f"user{it % 3}", "default", f"b{it}") for it in range(count)]

    def journalled(self) -> Sequence[Name]:
        return [("user0", "MX", f"b{it}") for it in range(40)]

    def files(self) -> list[Path]:
        """What there is, besides the catalogue."""
        own = self.older.own()
        return [it for it in sorted(self.older.path.rglob("*")) if it.parent != own and it != own]

    async def begin(self, chance: random.Random) -> list[str]:
        """Have a process take it over, and kill it at some time; give what it has said."""
        victim = Victim(chance.randrange(0, BLOBS // 10 + 8), chance.uniform(0, LONGEST))
        top = Path(__file__).parents[4]
        reactor.spawnProcess(
            victim,
            sys.executable,
            [sys.executable, "-m", "tests.server.storage.soledad.killed", self.root],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            path=str(top),
        )
        await victim.ended
        self.assertEqual(victim.errors, b"")
        return victim.lines

    async def check(self, number: int) -> None:
        """All is there, once."""
        backend = await self.open()
        for name in self.names(BLOBS):
            self.assertEqual(await self.content(backend, *name), sealed(name[2]))
        for name in self.journalled():
            self.assertEqual(await self.content(backend, *name), sealed("j" + name[2]))
        usage = [(it.blobs, it.size) for it in await backend.catalogue.usage()]
        self.assertEqual(usage, [(174, 174 * 800), (133, 133 * 800), (133, 133 * 800)])
        failed = await self.listed(backend, "user0", flag=Flags.FAILED)
        self.assertEqual(failed, sorted(f"b{it}" for it in range(0, BLOBS, 30)))
        deleted = await self.listed(backend, "user0", deleted=True)
        self.assertEqual(deleted, ["b3", "gone", f"gone{number}"])
        numbers = [
            change.number
            for user, namespace in (("user0", "MX"), *((f"user{it}", "default") for it in range(3)))
            for change in await backend.catalogue.changes(user, namespace, 0, 1000)
        ]
        self.assertEqual(numbers, sorted(set(numbers)))
        self.assertEqual(len(numbers), BLOBS + len(self.journalled()) + 2)
        await backend.close()
