"""A folder that Soledad's server wrote, and one of blobman's before it had a catalogue."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from blobman.model import Flags
from blobman.protocol import DEFAULT_NAMESPACE
from blobman.server.accounts.interface import Quotas, Usage
from blobman.server.storage.soledad.adoption import is_older, survey

from .case import AdoptionCase
from .older import DATE, SECOND

VECTORS = Path(__file__).parents[3] / "vectors"


class VectorCase(AdoptionCase):
    """Has a copy of a folder, whose files are dated in the order of their names."""

    vector: str

    def setUp(self) -> None:
        super().setUp()
        shutil.copytree(VECTORS / self.vector / "data", self.root, dirs_exist_ok=True)
        self.expected: dict[str, Any] = json.loads(
            (VECTORS / self.vector / "expected.json").read_text()
        )
        self.dates = {}
        for number, path in enumerate(sorted(self.older.path.rglob("*"))):
            self.dates[path.name] = date = DATE + number * SECOND
            os.utime(path, ns=(date, date))

    def by_date(self, names: list[str]) -> list[str]:
        return sorted(names, key=lambda name: self.dates[name])


class SoledadTests(VectorCase):
    vector = "soledad-server-dir"

    async def test_it_answers_as_soledad_did(self) -> None:
        self.assertTrue(is_older(self.root))
        backend = await self.open()
        answers = self.expected["answers"]
        self.assertEqual(await self.listed(backend, "bob"), answers["list_default"])
        self.assertEqual(await self.listed(backend, "bob", namespace="mail"), answers["list_mail"])
        deleted = await self.listed(backend, "bob", deleted=True)
        self.assertEqual(deleted, answers["deleted_default"])
        flags = await self.flags(backend, "bob", DEFAULT_NAMESPACE, "flagged")
        self.assertEqual(flags, answers["flags_of_flagged"])
        failed = await self.listed(backend, "bob", flag=Flags.FAILED)
        self.assertEqual(failed, answers["flag_FAILED"])
        for order, names in (("date", 1), ("-date", -1)):
            found = await self.listed(backend, "bob", order_by=order)
            self.assertEqual(found, self.by_date(answers["list_default"])[::names])
        self.assertEqual(self.heard.oddities, [])

    async def test_contents(self) -> None:
        backend = await self.open()
        vectors = json.loads((VECTORS / "soledad-sealed-blobs.json").read_text())
        self.assertTrue(vectors)
        for path in sorted((VECTORS / self.vector / "data").rglob("*")):
            if path.is_file() and "." not in path.name:
                name = "bob", path.relative_to(VECTORS / self.vector / "data").parts[1], path.name
                self.assertEqual(await self.content(backend, *name), path.read_bytes())


class PresentTests(VectorCase):
    vector = "blobman-server-dir"

    async def test_all_is_there(self) -> None:
        backend = await self.open()
        blobs = self.expected["blobs"]
        places: dict[tuple[str, str], list[str]] = {}
        for it in blobs:
            name = it["user"], it["namespace"], it["blob_id"]
            places.setdefault(name[:2], []).append(it["blob_id"])
            content = await self.content(backend, *name)
            self.assertEqual(len(content), it["sealed_size"])
            self.assertEqual(hashlib.sha256(content).hexdigest(), it["sha256"])
            flags = self.expected["flags"].get(it["blob_id"], [])
            self.assertEqual(await self.flags(backend, *name), flags, name)
        for (user, namespace), ids in places.items():
            self.assertEqual(await self.listed(backend, user, namespace=namespace), sorted(ids))
        self.assertEqual(self.heard.oddities, [])
        self.assertEqual(self.adoption.report.blobs, len(blobs))

    async def test_tombstones_quotas_and_use(self) -> None:
        backend = await self.open()
        deleted = await self.listed(backend, "alice", deleted=True)
        # One of them is there again.
        self.assertEqual(deleted, ["again", *self.expected["tombstones"]["alice/default"]])
        quotas = self.expected["quotas"]
        self.assertEqual(await backend.catalogue.quotas(), Quotas(None, quotas))
        expected = []
        for user in ("alice", "bob"):
            sizes = [it["sealed_size"] for it in self.expected["blobs"] if it["user"] == user]
            expected.append(Usage(user, len(sizes), sum(sizes), quotas.get(user)))
        self.assertEqual(await backend.catalogue.usage(), expected)

    async def test_dates(self) -> None:
        backend = await self.open()
        found = await self.listed(backend, "alice", order_by="date")
        # The files of these were still to be made: the journal has their dates.
        waiting = [it for it in found if it.endswith("-waits")]
        self.assertEqual(waiting, ["0-waits", "1-waits", "2-waits"])
        self.assertEqual(self.adoption.report.from_journal, 8)

    async def test_a_survey_changes_nothing(self) -> None:
        before = self.statuses()
        report = survey(self.root, self.heard)
        self.assertEqual(self.statuses(), before)
        await self.open()
        self.assertEqual(report, self.adoption.report)

    def statuses(self) -> list[tuple[str, int, int, int]]:
        statuses = [(str(it), it.stat()) for it in sorted(self.older.path.rglob("*"))]
        return [(path, it.st_ino, it.st_mtime_ns, it.st_size) for path, it in statuses]
