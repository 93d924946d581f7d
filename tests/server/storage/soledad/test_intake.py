"""Blobs that are in the journal only get into the catalogue."""

from __future__ import annotations

import os

from blobman.model import Flags

from .case import AdoptionCase
from .older import DATE, SECOND, record, sealed

A, B, C = (("alice", "default", blob_id) for blob_id in "abc")


class JournalTests(AdoptionCase):
    async def test_without_files(self) -> None:
        self.older.journal(1, record(b"D", A, sealed("a"), DATE + 5) + record(b"D", B, sealed("b")))
        self.older.journal(2, record(b"D", ("bob", "MX", "c"), sealed("c")))
        backend = await self.open()
        self.assertEqual(await self.listed(backend, "alice", order_by="date"), ["b", "a"])
        self.assertEqual(await self.content(backend, *A), sealed("a"))
        self.assertEqual(await self.content(backend, "bob", "MX", "c"), sealed("c"))
        self.assertEqual((self.adoption.report.blobs, self.adoption.report.from_journal), (3, 3))
        self.assertEqual(self.told(), [])
        # They do not need the journal any more.
        await backend.janitor.clean()
        self.assertEqual(os.listdir(self.older.own("journal")), [])
        self.assertEqual(await self.content(backend, *A), sealed("a"))

    async def test_the_last_record_counts(self) -> None:
        self.older.put(B, sealed("of its file"))
        self.older.journal(
            1,
            record(b"D", A, sealed("old"))
            + record(b"D", B, sealed("b"))
            + record(b"D", C, sealed("c")),
        )
        self.older.journal(2, record(b"K", B) + record(b"D", A, sealed("new")) + record(b"K", C))
        backend = await self.open()
        self.assertEqual(await self.listed(backend, "alice"), ["a", "b"])
        self.assertEqual(await self.content(backend, *A), sealed("new"))
        self.assertEqual(await self.content(backend, *B), sealed("of its file"))

    async def test_a_file_that_may_not_be_on_the_disk(self) -> None:
        files = [
            self.older.put(A, sealed("a"), b'["FAILED"]'),
            self.older.put(B, sealed("b")[:100]),
            self.older.put(C, b""),
        ]
        self.older.journal(1, b"".join(record(b"D", it, sealed(it[2])) for it in (A, B, C)))
        backend = await self.open()
        self.assertEqual(self.told(), [])
        await backend.janitor.clean()
        for name, file in zip((A, B, C), files, strict=True):
            self.assertEqual(await self.content(backend, *name), sealed(name[2]))
            self.assertEqual(await self.flags(backend, *name), [])
            self.assertFalse(file.exists())
        [usage] = await backend.catalogue.usage()
        self.assertEqual((usage.blobs, usage.size), (3, 2400))

    async def test_an_id_that_is_used_again(self) -> None:
        self.older.tombstone(A, DATE - SECOND)
        # The clock was set back: the journal is whole, so that the order of its records counts.
        self.older.tombstone(B, DATE + SECOND)
        self.older.journal(1, record(b"D", A, sealed("a")) + record(b"D", B, sealed("b")))
        backend = await self.open()
        self.assertEqual(await self.listed(backend, "alice"), ["a", "b"])
        self.assertEqual(await self.listed(backend, "alice", deleted=True), ["a", "b"])

    async def test_without_a_date(self) -> None:
        path = self.older.journal(1, record(b"P", A, sealed("a")) + record(b"D", B, sealed("b"), 0))
        os.utime(path, ns=(DATE, DATE + 7))
        backend = await self.open()
        changes = await backend.catalogue.changes("alice", "default", 0, 10)
        self.assertEqual([it.date for it in changes], [DATE + 7] * 2)

    async def test_more_than_are_in_memory(self) -> None:
        names = [("alice", f"n{number % 3}", f"b{number:04}") for number in range(1501)]
        self.older.journal(1, b"".join(record(b"D", it, sealed(it[2])) for it in names))
        backend = await self.open()
        for namespace in range(3):
            expected = [it[2] for it in names if it[1] == f"n{namespace}"]
            self.assertEqual(
                await self.listed(backend, "alice", namespace=f"n{namespace}"), expected
            )
        self.assertEqual(await self.content(backend, *names[-1]), sealed(names[-1][2]))


class DamagedJournalTests(AdoptionCase):
    async def test_the_records_after_it(self) -> None:
        damaged = bytearray(record(b"D", B, sealed("b")))
        damaged[3] ^= 1
        first = record(b"D", A, sealed("a"))
        path = self.older.journal(1, first + bytes(damaged) + record(b"D", C, sealed("c")))
        self.older.journal(2, record(b"D", ("bob", "MX", "d"), sealed("d")))
        backend = await self.open()
        self.assertEqual(await self.listed(backend, "alice"), ["a", "c"])
        self.assertEqual(await self.listed(backend, "bob", namespace="MX"), ["d"])
        [told] = self.heard.oddities
        self.assertEqual(told.path, ".blobman/journal/000000000001")
        end = len(first) + len(damaged)
        self.assertEqual(told.why, f"bytes {len(first)} to {end} are damaged")
        # Whoever wants to can look for what is lost.
        await backend.janitor.clean()
        self.assertEqual([it.name for it in self.older.own("journal").iterdir()], [path.name])

    async def test_what_was_deleted_stays_so(self) -> None:
        # What said that B's file is right is lost.
        puts = record(b"D", A, sealed("a")) + record(b"D", B, sealed("b"))
        self.older.journal(1, puts + record(b"K", B)[:-1] + b"?")
        self.older.tombstone(B, DATE + SECOND)
        self.older.tombstone(A, DATE - SECOND)
        backend = await self.open()
        self.assertEqual(await self.listed(backend, "alice"), ["a"])
        self.assertEqual(await self.listed(backend, "alice", deleted=True), ["a", "b"])

    async def test_flags_that_were_set_stay_so(self) -> None:
        self.older.journal(1, record(b"D", A, sealed("a")) + record(b"K", A)[:-1])
        self.older.put(A, sealed("a"))
        self.older.flags(A, b'["PROCESSED"]', DATE + SECOND)
        backend = await self.open()
        self.assertEqual(await self.flags(backend, *A), [Flags.PROCESSED])
        self.assertEqual(await self.content(backend, *A), sealed("a"))

    async def test_flags_without_a_file_take_nothing_away(self) -> None:
        self.older.journal(1, record(b"D", A, sealed("a")) + b"D")
        self.older.flags(A, b'["PROCESSED"]', DATE + SECOND)
        backend = await self.open()
        self.assertEqual(await self.content(backend, *A), sealed("a"))


class LeftoversTests(AdoptionCase):
    async def test_they_go(self) -> None:
        own = self.older.own()
        left = ["index.sqlite", "index.sqlite-wal", "quotas.json.lock", "staging/0", "staging/17"]
        self.older.own("staging")
        for path in left:
            (own / path).write_bytes(b"not a database")
        (own / "quotas.json").write_bytes(b'{"default": 7, "users": {}}')
        (own / "notes").write_bytes(b"somebody else's")
        backend = await self.open()
        self.assertEqual(self.told(), [])
        await backend.janitor.clean()
        for path in (*left, "quotas.json"):
            self.assertFalse((own / path).exists(), path)
        self.assertTrue((own / "notes").exists())
