"""The files of users are taken over where they are."""

from __future__ import annotations

import os

from blobman.errors import BlobAlreadyExistsError, BlobNotFoundError
from blobman.model import Flags
from blobman.server.accounts.interface import Usage
from blobman.server.storage.interface import BlobName
from blobman.server.storage.soledad.adoption import is_older
from blobman.server.storage.soledad.taking import Report
from blobman.testing.contracts.support import Consumer

from .case import AdoptionCase
from .older import DATE, SECOND, OlderFolder, sealed

LONG = "L" * 254


class FilesTests(AdoptionCase):
    async def test_nothing(self) -> None:
        self.assertFalse(is_older(self.root))
        backend = await self.open()
        self.assertEqual(self.adoption.report, Report())
        self.assertEqual(await self.listed(backend, "alice"), [])
        self.assertEqual(self.generations(), [1])

    async def test_blobs_stay_in_their_files(self) -> None:
        names = [("alice", "default", it) for it in ("a", "ab", "abcdefgh", "-", "_x", LONG)]
        for name in names:
            self.older.put(name, sealed(name[2], 500_000 if name[2] == "-" else 1000))
        self.older.put(("alice", "mail", "a"), sealed("mail"))
        self.older.put(("bob", "default", "a"), sealed("bob"))
        before = {path: path.stat() for path in self.older.path.rglob("*") if path.is_file()}
        backend = await self.open()
        self.assertEqual(await self.listed(backend, "alice"), sorted(it[2] for it in names))
        for name in names:
            size = 500_000 if name[2] == "-" else 1000
            self.assertEqual(await self.content(backend, *name), sealed(name[2], size))
        self.assertEqual(await self.content(backend, "alice", "mail", "a"), sealed("mail"))
        self.assertEqual(await self.content(backend, "bob", "default", "a"), sealed("bob"))
        self.assertEqual(
            await backend.catalogue.usage(),
            [Usage("alice", 7, 505_800, None), Usage("bob", 1, 800, None)],
        )
        for path, status in before.items():
            self.assertEqual(path.stat().st_ino, status.st_ino)
        self.assertEqual(self.heard.oddities, [])

    async def test_dates(self) -> None:
        for blob_id, ago in (("a", 5), ("b", 9), ("c", 0), ("d", 7)):
            self.older.put(("alice", "default", blob_id), sealed(blob_id), date=DATE - ago * SECOND)
        for blob_id, ago in (("x", 1), ("y", 2), ("z", 0)):
            self.older.tombstone(("alice", "default", blob_id), DATE - ago * SECOND)
        backend = await self.open()
        self.assertEqual(await self.listed(backend, "alice", order_by="date"), list("bdac"))
        self.assertEqual(await self.listed(backend, "alice", order_by="-date"), list("cadb"))
        deleted = await self.listed(backend, "alice", order_by="date", deleted=True)
        self.assertEqual(deleted, list("yxz"))
        [found] = await backend.catalogue.find([BlobName("alice", "default", "a")], 1)
        assert found is not None
        self.assertEqual(found.date, DATE - 5 * SECOND)

    async def test_flags(self) -> None:
        self.older.put(("alice", "default", "a"), sealed("a"), b'["FAILED", "PENDING"]')
        self.older.put(("alice", "default", "b"), sealed("b"), b"[]")
        self.older.put(("alice", "default", LONG), sealed("L"), b'["PROCESSED"]')
        self.older.put(("alice", "default", "c"), sealed("c"))
        backend = await self.open()
        flags = [await self.flags(backend, "alice", "default", it) for it in ("a", "b", LONG, "c")]
        expected = [[Flags.FAILED, Flags.PENDING], [], [Flags.PROCESSED], []]
        self.assertEqual(flags, expected)
        self.assertEqual(await self.listed(backend, "alice", flag=Flags.PENDING), ["a"])
        self.assertEqual((self.adoption.report.flagged, self.heard.oddities), (2, []))

    async def test_tombstones(self) -> None:
        for blob_id in ("a", "b", LONG):
            self.older.tombstone(("alice", "default", blob_id))
        self.older.put(("alice", "default", "b"), sealed("b"))
        backend = await self.open()
        self.assertEqual(await self.listed(backend, "alice"), ["b"])
        self.assertEqual(
            await self.listed(backend, "alice", deleted=True), sorted(["a", "b", LONG])
        )
        self.assertEqual((self.adoption.report.deleted, self.heard.oddities), (2, []))
        # It counts as any other: what was deleted twice is one.
        await backend.delete(BlobName("alice", "default", "b"))
        await backend.store([(BlobName("alice", "default", "a"), sealed("new"))])
        self.assertEqual(
            await self.listed(backend, "alice", deleted=True), sorted(["a", "b", LONG])
        )
        changes = await backend.catalogue.changes("alice", "default", 0, 100)
        there = {it.blob_id: it.size for it in changes}
        self.assertEqual(there, {"a": 800, "b": None, LONG: None})

    async def test_numbers(self) -> None:
        for user, namespace, blob_id in (("a", "n", "1"), ("a", "n", "2"), ("b", "m", "3")):
            self.older.put((user, namespace, blob_id), sealed(blob_id))
        self.older.tombstone(("a", "n", "4"))
        backend = await self.open()
        numbers = [
            change.number
            for place in (("a", "n"), ("b", "m"))
            for change in await backend.catalogue.changes(*place, 0, 100)
        ]
        self.assertEqual(numbers, [1, 2, 3, 4])
        self.assertEqual(self.generations(), [1])
        await backend.delete(BlobName("a", "n", "1"))
        self.assertEqual(self.generations(), [1, 5])

    async def test_a_user_on_another_disk(self) -> None:
        elsewhere = OlderFolder(os.path.abspath(self.mktemp()))
        elsewhere.put(("carol", "default", "a"), sealed("a"))
        os.symlink(elsewhere.path / "carol", self.older.path / "carol")
        backend = await self.open()
        self.assertEqual(await self.content(backend, "carol", "default", "a"), sealed("a"))
        self.assertEqual(self.heard.oddities, [])

    async def test_what_is_deleted_then_goes(self) -> None:
        path = self.older.put(("alice", "default", "a"), sealed("a", 300_000))
        backend = await self.open()
        name = BlobName("alice", "default", "a")
        stored = await backend.read(name)
        await backend.delete(name)
        await self.assertFailure(backend.read(name), BlobNotFoundError)
        consumer = Consumer()
        await stored.write_to(consumer)
        stored.close()
        self.assertEqual(consumer.content, sealed("a", 300_000))
        await backend.janitor.clean()
        self.assertTrue(path.exists(), "somebody may be about to open it")
        self.now += 100 * SECOND
        await backend.janitor.clean()
        self.assertFalse(path.exists())
        self.assertEqual(await self.listed(backend, "alice", deleted=True), ["a"])

    async def test_names_are_taken(self) -> None:
        self.older.put(("alice", "default", "a"), sealed("a"))
        backend = await self.open()
        [outcome] = await backend.store([(BlobName("alice", "default", "a"), sealed("b"))])
        self.assertIsInstance(outcome, BlobAlreadyExistsError)
