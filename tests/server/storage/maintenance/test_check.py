"""Damage, which is found, named and moved aside."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager

import apsw
from twisted.internet.defer import Deferred, gatherResults

from blobman.errors import StoreError
from blobman.server.running.administration import restored
from blobman.server.storage.backend import Backend
from blobman.server.storage.catalogue.connection import connect
from blobman.server.storage.catalogue.folder import CatalogueFolder
from blobman.server.storage.catalogue.interface import Publication
from blobman.server.storage.catalogue.writer import Publishing, Writer
from blobman.server.storage.interface import DamagedError
from blobman.server.storage.maintenance.backup import back_up
from blobman.server.storage.maintenance.check import check
from blobman.server.storage.maintenance.findings import Kind
from blobman.server.storage.maintenance.repair import FOUND, repair
from blobman.sqlite import ask, transaction
from blobman.testing.contracts.support import name, query, sealed
from blobman.threads import Work

from .folders import LARGE, Blobs, FolderCase, change_file, put
from .test_backup import Load

DAMAGES = int(os.environ.get("BLOBMAN_TEST_DAMAGES", "24"))
"""How many places are damaged; set it to 500 for a long run by hand."""

CATALOGUE = ".blobman/catalogue.sqlite"
FRAME = 24 + 8192
"""Bytes of a frame of the log, which begins with 32 others."""


@contextmanager
def changing(data: str) -> Iterator[apsw.Connection]:
    """Change a catalogue behind the server's back."""
    connection = connect(os.path.join(data, CATALOGUE), 100_000)
    try:
        with transaction(connection):
            yield connection
    finally:
        connection.close()


class CheckCase(FolderCase):
    async def still_served(self, data: str = "") -> Blobs:
        """See that a folder is in order, and give what is served from it."""
        self.assertEqual(self.found(data), [])
        there = await self.served(data)

        async def count(backend: Backend) -> int:
            return await backend.count("alice", query())

        self.assertEqual(await self.with_server(count, data), len(there))
        return there


class CheckTests(CheckCase):
    async def test_nothing(self) -> None:
        self.assertRaises(StoreError, self.found)
        os.mkdir(self.data)
        self.assertRaises(StoreError, self.found)
        self.assertEqual(os.listdir(self.data), [])
        await self.fill()
        self.assertEqual(self.found(), [])
        self.assertEqual(self.found(deep=False), [])
        self.assertEqual(repair(self.data, True), ([], ""))
        self.assertFalse(os.path.lexists(os.path.join(self.data, FOUND)))

    async def test_while_a_server_is_at_work(self) -> None:
        backend = await self.open()
        load = Load(backend)
        working = [Deferred.fromCoroutine(load.work(lane)) for lane in "ab"]
        for wanted in (10, 30, 50):
            await load.when_stored(wanted)
            self.assertEqual(await self.check_in_thread(), [])
        load.is_over = True
        await gatherResults(working)
        self.assertRaises(StoreError, repair, self.data, False)
        upload = await backend.receive(name("upload"), LARGE)
        await upload.write([sealed()])
        self.assertEqual(await self.check_in_thread(), [])
        await upload.discard()

    async def test_a_payload(self) -> None:
        blobs = await self.fill(2, 3)
        whole = self.path("whole")
        os.rename(self.data, whole)
        for damage, shallow in (
            (os.unlink, True),
            (lambda path: os.truncate(path, 1000), True),
            (lambda path: os.truncate(path, 0), True),
            (lambda path: os.truncate(path, LARGE + 1), True),
            (lambda path: change_file(path, LARGE - 1), True),
            (lambda path: change_file(path, 270_000), False),
            (lambda path: change_file(path, 0), False),
        ):
            shutil.copytree(whole, self.data)
            path = self.payload_paths()[1]
            damage(path)
            (found,) = self.found()
            self.assertTrue(found.startswith(os.path.relpath(path, self.data)), found)
            self.assertEqual(self.found(deep=False), [found] if shallow else [])
            (finding,) = repair(self.data, True).findings
            self.assertIs(finding.kind, Kind.PAYLOAD)
            assert finding.name is not None
            self.assertIn(str(finding.name), found)
            rest = {it: content for it, content in blobs.items() if it != finding.name}
            self.assertEqual(await self.still_served(), rest)
            shutil.rmtree(self.data)

    async def test_all_that_is_no_payload(self) -> None:
        blobs = await self.fill(1, 1)
        top = os.path.join(self.data, ".blobman", "payloads")
        (payload,) = self.payload_paths()
        key = os.path.basename(payload)
        strays = ["ab/" + "ab" * 16, "00/" + key, "ab/x.tmp", "readme"]
        for stray in strays:
            os.makedirs(os.path.dirname(os.path.join(top, stray)), exist_ok=True)
            shutil.copy(payload, os.path.join(top, stray))
        os.symlink(payload, os.path.join(top, "ab", "link"))
        os.symlink(self.folder, os.path.join(top, "cd"))
        expected = sorted(f".blobman/payloads/{it}" for it in [*strays, "ab/link", "cd"])
        self.assertEqual(sorted(it.path for it in check(self.data, False)), expected)
        repaired = repair(self.data, False)
        self.assertEqual(sorted(it.path for it in repaired.findings), expected)
        self.assertEqual(await self.still_served(), blobs)
        for stray in strays:
            moved = os.path.join(repaired.folder, "payloads", stray)
            self.assertEqual(os.path.getsize(moved), LARGE)

    async def test_what_the_catalogue_says_is_changed(self) -> None:
        blobs = await self.fill(5, 3)
        whole = self.path("whole")
        os.rename(self.data, whole)
        for change, lost in (
            ("UPDATE blobs SET id = 'small-x' WHERE id = 'small-1'", "small-1"),
            ("UPDATE blobs SET place = 77 WHERE id = 'large-1'", "large-1"),
            ("UPDATE blobs SET tag = zeroblob(16) WHERE id = 'large-1'", "large-1"),
            ("UPDATE blobs SET size = size + 1 WHERE id = 'small-1'", "small-1"),
            ("UPDATE blobs SET flags = '19' WHERE id = 'small-1'", "small-1"),
            ("UPDATE contents SET content = zeroblob(5000) WHERE blob = 2", "small-1"),
            ("DELETE FROM contents WHERE blob = 2", "small-1"),
            ("DELETE FROM digests WHERE blob = 7", "large-1"),
            ("INSERT INTO contents VALUES (99, zeroblob(10))", ""),
            ("INSERT INTO digests VALUES (99, zeroblob(10))", ""),
            ("UPDATE places SET blobs = blobs + 1", ""),
            ("UPDATE places SET size = size - 1", ""),
            ("UPDATE places SET deleted = 3", ""),
            ("INSERT INTO tombstones SELECT place, id, number, date, tag FROM blobs", ""),
        ):
            shutil.copytree(whole, self.data)
            with changing(self.data) as connection:
                connection.execute(change)
            self.assertNotEqual(self.found(), [], change)
            repair(self.data, True)
            rest = {it: content for it, content in blobs.items() if it.blob_id != lost}
            self.assertEqual(await self.still_served(), rest, change)
            shutil.rmtree(self.data)

    async def test_damaged_blobs_are_asked_for_again(self) -> None:
        # A client takes what is not listed for lost, but what has a tombstone for deleted.
        await self.fill(3, 2)

        async def tombstones(backend: Backend) -> int:
            return await backend.count("alice", query(deleted=True))

        before = {it.name for it in self.generations()}
        os.unlink(self.payload_paths()[0])
        repair(self.data, False)
        self.assertEqual(await self.with_server(tombstones), 0)
        after = {it.name for it in self.generations()}
        self.assertEqual((len(after), after & before), (1, set()))

    async def test_the_report(self) -> None:
        await self.fill(3, 2)
        os.truncate(self.payload_paths()[0], 10)
        with changing(self.data) as connection:
            connection.execute("UPDATE contents SET content = x'2a' WHERE blob = 1")
        repaired = repair(self.data, False)
        with open(os.path.join(repaired.folder, "report.json")) as file:
            lines = [json.loads(line) for line in file]
        self.assertEqual(lines, [it.fields() for it in repaired.findings])
        self.assertEqual([it["kind"] for it in lines], ["blob", "payload"])
        self.assertEqual((lines[0]["user"], lines[0]["id"]), ("alice", "small-0"))
        with open(os.path.join(repaired.folder, "contents", "1"), "rb") as file:
            self.assertEqual(file.read(), b"*")

    async def test_the_last_number(self) -> None:
        blobs = await self.fill(3, 0)
        path = os.path.join(self.data, ".blobman", "last-number")
        for damage in (
            os.unlink,
            lambda it: os.truncate(it, 0),
            lambda it: os.truncate(it, 7),
            lambda it: change_file(it, 0),
            lambda it: change_file(it, 9),
        ):
            damage(path)
            (finding,) = check(self.data, True)
            self.assertEqual(finding.path, ".blobman/last-number")
            repair(self.data, True)
            self.assertEqual(await self.still_served(), blobs)

    async def test_a_backup_that_says_something_else(self) -> None:
        await self.fill(3, 2)
        back_up(self.data, self.backup)
        path = os.path.join(self.backup, ".blobman", "backup.json")
        with open(path) as file:
            manifest = json.load(file)
        for field in ("number", "blobs", "size", "payloads"):
            with open(path, "w") as file:
                json.dump({**manifest, field: manifest[field] + 1}, file)
            self.assertEqual(
                self.found(self.backup),
                [".blobman/backup.json: it does not agree with the catalogue"],
            )

    async def test_a_backup(self) -> None:
        await self.fill(3, 2)
        back_up(self.data, self.backup)
        os.truncate(self.payload_paths(self.backup)[0], 10)
        change_file(os.path.join(self.backup, CATALOGUE), 20_000)
        paths = {it.path for it in check(self.backup, True)}
        self.assertLessEqual({CATALOGUE}, paths)
        before = os.listdir(os.path.join(self.backup, ".blobman"))
        self.assertRaises(StoreError, repair, self.backup, True)
        self.assertEqual(os.listdir(os.path.join(self.backup, ".blobman")), before)


class CatalogueTests(CheckCase):
    """The catalogue's own files."""

    async def test_a_catalogue_that_is_missing(self) -> None:
        await self.fill(3, 1)
        os.unlink(os.path.join(self.data, CATALOGUE))
        self.assertEqual(self.found(), [f"{CATALOGUE}: it is missing"])
        self.assertRaises(DamagedError, repair, self.data, True)

    async def test_a_catalogue_that_can_not_be_opened(self) -> None:
        await self.fill(3, 1)
        await self.empty_log()
        path = os.path.join(self.data, CATALOGUE)
        change_file(path, 100)
        with open(path, "rb") as file:
            before = file.read()
        (found,) = self.found()
        self.assertTrue(found.startswith(f"{CATALOGUE}: "), found)
        self.assertRaises(DamagedError, repair, self.data, True)
        with open(path, "rb") as file:
            self.assertEqual(file.read(), before)

    async def empty_log(self) -> None:
        """Bring all that is in the log to the catalogue."""
        connection = connect(os.path.join(self.data, CATALOGUE), 100_000)
        ask(connection, "PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()

    async def test_a_log_that_was_damaged_after_it_was_brought_home(self) -> None:
        blobs = await self.fill(5, 1)
        whole = self.path("whole")
        os.rename(self.data, whole)
        frames = os.path.getsize(os.path.join(whole, CATALOGUE + "-wal")) // FRAME
        self.assertGreater(frames, 20)
        for frame in range(frames):
            shutil.copytree(whole, self.data)
            change_file(os.path.join(self.data, CATALOGUE + "-wal"), 32 + frame * FRAME + 500)
            found = self.found()
            self.assertTrue(found[0].startswith(f"{CATALOGUE}-wal: it is damaged"), found)
            # Neither a start that is refused nor this makes it worse.
            opening: Deferred[object] = Deferred.fromCoroutine(self.open())
            await self.assertFailure(opening, DamagedError)
            self.assertRaises(DamagedError, restored, self.data)
            repaired = repair(self.data, True)
            self.assertEqual(await self.still_served(), blobs)
            self.assertTrue(os.path.exists(os.path.join(repaired.folder, "catalogue.sqlite-wal")))
            shutil.rmtree(self.data)

    async def test_a_log_whose_changes_are_lost(self) -> None:
        own = os.path.join(self.data, ".blobman")
        writer = Writer(CatalogueFolder(own), time.time_ns)
        writer.open()
        for number in range(6):
            content = sealed(str(number))
            blob = Publication(name(f"blob-{number}"), len(content), content[-16:], content)
            works: list[Work[object]] = [Work(Publishing([blob]))]
            writer.run(works)
        # As if the server were killed: what is in the log is nowhere else.
        crashed = self.path("crashed")
        shutil.copytree(self.data, crashed)
        writer.close()
        log = os.path.join(crashed, CATALOGUE + "-wal")
        for at, frames in ((100, 1), (2 * FRAME, 2)):
            change_file(log, os.path.getsize(log) - at)
            found = self.found(crashed)
            self.assertIn(f"{CATALOGUE}-wal", found[0])
            self.assertIn("changes are missing: it ends with 5, and 6 was acknowl", found[-1])
            self.assertEqual(len(found), frames)
        opening: Deferred[object] = Deferred.fromCoroutine(self.open(crashed))
        await self.assertFailure(opening, DamagedError)
        repair(crashed, True)
        there = sorted(it.blob_id for it in await self.still_served(crashed))
        self.assertEqual(there, [f"blob-{number}" for number in range(5)])

    async def test_any_place(self) -> None:
        blobs = await self.fill(60, 5)
        await self.empty_log()
        backend = await self.open()
        await put(backend, name("late"), sealed("late"))
        await backend.close()
        blobs[name("late")] = sealed("late")
        whole = self.path("whole")
        os.rename(self.data, whole)
        chance = random.Random(os.environ.get("BLOBMAN_TEST_SEED", "1"))
        paths = [os.path.join(whole, CATALOGUE + suffix) for suffix in ("", "", "", "-wal")]
        paths += self.payload_paths(whole)[:1]
        for _ in range(DAMAGES):
            shutil.copytree(whole, self.data)
            path = chance.choice(paths)
            await self.damage(os.path.relpath(path, whole), chance, blobs)
            shutil.rmtree(self.data)

    async def damage(self, path: str, chance: random.Random, blobs: Blobs) -> None:
        at = chance.randrange(os.path.getsize(os.path.join(self.data, path)))
        place = f"{path} at {at}"
        if chance.random() < 0.3:
            os.truncate(os.path.join(self.data, path), at)
            place += ", cut"
        else:
            change_file(os.path.join(self.data, path), at, 1 << chance.randrange(8))
        found = self.found()
        try:
            repair(self.data, True)
        except DamagedError:
            # The page that says where all others are.
            self.assertLess(at, 8192, place)
            self.assertIn(path, found[0], place)
            return
        there = await self.still_served()
        self.assertLessEqual(there.items(), blobs.items(), place)
        if there != blobs:
            self.assertTrue(any(path in it for it in found), (place, found))
        if ", cut" not in place:
            # One page has four blobs at most, or names them all.
            self.assertGreater(len(there), 0, place)
