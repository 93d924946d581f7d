"""What is not as it was is refused before anything has changed."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

from blobman.errors import StoreError
from blobman.local import BlobStore
from blobman.local.connection import connect, derive_key
from blobman.model import SyncStatus
from blobman.sqlite import log_of

from .child import run
from .contract import MIB, content
from .test_faults import KEY, DiskTestCase, put, read


class OpeningTestCase(DiskTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.log = log_of(self.path)
        self.lock = self.path.with_suffix(".lock")

    def snapshot(self) -> dict[str, bytes]:
        """All that is there, but the index of the log, which SQLite makes anew, or an empty log."""
        files = [it for it in self.folder.rglob("*") if it.is_file() and it.suffix != ".db-shm"]
        found = {str(it): it.read_bytes() for it in files}
        return {name: data for name, data in found.items() if data or not name.endswith("-wal")}

    async def check_refused(self, *words: str) -> None:
        """Nothing can be done, and nothing is changed by it."""
        before = self.snapshot()
        for _ in range(2):
            store = self.open()
            await self.refuses(put(store, "new", b"data"), *words)
            await self.refuses(store.get("small"), *words)
            await self.refuses(put(store, "new", content(2 * MIB)), *words)
            await store.close()
        self.assertTrue(self.snapshot() == before)

    def crash(self) -> None:
        """Leave a log with what was acknowledged, in several transactions."""
        lines = """
            await put('small', 50_000)
            await put('large', 3 * 1048576)
            for number in range(5):
                await put(f'more{number}', 1000)
            os.kill(os.getpid(), 9)
        """
        run(self.folder, lines)
        self.assertGreater(self.log.stat().st_size, 100_000)


class LostDatabaseTests(OpeningTestCase):
    async def test_emptied_beside_payload_files(self) -> None:
        await self.fill()
        os.truncate(self.path, 0)
        self.lock.unlink()
        await self.check_refused("is empty", str(self.path.with_suffix(".payloads")))

    async def test_missing_beside_payload_files(self) -> None:
        await self.fill()
        self.path.unlink()
        self.lock.unlink()
        await self.check_refused("is missing", str(self.path.with_suffix(".payloads")))

    async def test_emptied_with_a_log(self) -> None:
        """SQLite would remove the log."""
        self.crash()
        shutil.rmtree(self.path.with_suffix(".payloads"))
        self.lock.unlink()
        os.truncate(self.path, 0)
        await self.check_refused("is empty", str(self.log))

    async def test_emptied_with_nothing_beside_it(self) -> None:
        store = self.open()
        await put(store, "small", b"data")
        await store.close()
        os.truncate(self.path, 0)
        await self.check_refused("is empty", "was used")

    async def test_put_back(self) -> None:
        await self.fill()
        self.path.rename(self.folder / "elsewhere")
        await self.check_refused("is missing")
        (self.folder / "elsewhere").rename(self.path)
        await self.check_filled()

    async def test_moved_away_altogether(self) -> None:
        await self.fill()
        away = self.folder / "away"
        away.mkdir()
        for path in self.folder.glob("user_blobs.*"):
            path.rename(away / path.name)
        store = self.open()
        self.assertEqual(await store.list(), [])
        await store.close()
        self.folder, self.path = away, away / self.path.name
        await self.check_filled()


class CutDatabaseTests(OpeningTestCase):
    async def test_cut(self) -> None:
        await self.fill()
        size = self.path.stat().st_size
        whole = self.path.read_bytes()
        for cut in (1, 100, 4096, 16383, 16384, 16385, 50_000, size - 16384, size - 100, size - 1):
            os.truncate(self.path, size - cut)
            await self.check_refused()
            self.path.write_bytes(whole)
        await self.check_filled()

    async def test_what_the_log_has_need_not_be_in_the_file(self) -> None:
        """As after a crash amid the first checkpoint, with files of the first version, too."""
        self.crash()
        connection = connect(str(self.path), derive_key(KEY))
        connection.wal_checkpoint()
        connection.close()
        crashed, size = self.folder, self.path.stat().st_size
        for cut in (1, 16384, 20_000):
            self.folder = Path(self.mktemp()).absolute()
            self.path = self.folder / self.path.name
            shutil.copytree(crashed, self.folder)
            os.truncate(self.path, size - cut)
            store = self.open()
            self.assertTrue(await read(store, "small") == content(50_000))
            self.assertEqual(len(await store.list()), 7)


class LogTests(OpeningTestCase):
    async def test_over_room_that_a_power_cut_took(self) -> None:
        """What is taken ahead need not be durable; the log takes it for there."""
        store = self.open()
        await put(store, "a", b"data")
        await store.close()
        size = self.path.stat().st_size
        # A process was killed when it had taken room, and before it logged anything.
        os.truncate(self.path, size + 2 * MIB)
        run(self.folder, "await put('b', 1000); os.kill(os.getpid(), 9)")
        os.truncate(self.path, size)
        store = self.open()
        self.assertEqual(await store.list(), ["a", "b"])
        await store.close()
        self.assertFalse(self.log.exists())

    async def test_a_crash_alone(self) -> None:
        self.crash()
        store = self.open()
        self.assertEqual(len(await store.list()), 7)
        self.assertTrue(await read(store, "large") == content(3 * MIB))

    async def test_missing(self) -> None:
        self.crash()
        self.log.unlink()
        await self.check_refused(str(self.log), "missing")

    async def test_cut(self) -> None:
        self.crash()
        whole = self.log.read_bytes()
        for size in (0, 10, 32, 5000, len(whole) // 2, len(whole) - 20_000, len(whole) - 1):
            os.truncate(self.log, size)
            await self.check_refused(str(self.log))
            self.log.write_bytes(whole)
        self.assertEqual(len(await self.open().list()), 7)

    async def test_an_older_one(self) -> None:
        self.crash()
        older = self.log.read_bytes()
        store = self.open()
        await put(store, "another", b"data")
        await store.close()
        run(self.folder, "await put('last', 1000); os.kill(os.getpid(), 9)")
        self.log.write_bytes(older)
        await self.check_refused(str(self.log), "older")

    async def test_over_an_older_database(self) -> None:
        """Its pages are changes to pages that the older one does not have."""
        await self.fill()
        older = self.path.read_bytes()
        store = self.open()
        for number in range(5):
            await put(store, f"later{number}", content(5000))
        await store.close()
        run(self.folder, "await put('last', 100); os.kill(os.getpid(), 9)")
        self.path.write_bytes(older)
        await self.check_refused(str(self.path), self.log.name, "do not belong together")

    async def test_what_is_left_can_be_used(self) -> None:
        """By removing the lock's file, as the message says."""
        self.crash()
        os.truncate(self.log, self.log.stat().st_size - 1)
        await self.check_refused(f"remove {self.lock}")
        self.lock.unlink()
        store = self.open()
        self.assertEqual(len(await store.list()), 6)

    async def test_what_was_not_acknowledged(self) -> None:
        """A power cut can leave anything behind what was acknowledged."""
        self.crash()
        with open(self.log, "ab") as file:
            file.write(random.Random(1).randbytes(30_000))
        self.assertEqual(len(await self.open().list()), 7)

    async def test_a_log_that_began_anew(self) -> None:
        """It is longer than before, or shorter, and the note goes with it."""
        lines = """
            for number in range(60):
                await put(f'a{number}', 1_000_000)
            await put('last', 1000)
            os.kill(os.getpid(), 9)
        """
        run(self.folder, lines)
        store = self.open()
        self.assertEqual(len(await store.list()), 61)
        await store.close()

    async def test_a_damaged_note(self) -> None:
        self.crash()
        raw = bytearray(self.lock.read_bytes())
        raw[10] ^= 1
        self.lock.write_bytes(raw)
        await self.check_refused(str(self.lock), "is damaged")

    async def test_a_note_that_the_power_took(self) -> None:
        self.crash()
        self.lock.write_bytes(bytes(4096))
        self.assertEqual(len(await self.open().list()), 7)

    async def test_a_note_is_cleared_for_good_before_the_log_goes(self) -> None:
        """Else a power cut could bring back a note of a log that was removed on purpose."""
        seen: list[tuple[bool, bytes]] = []
        fsync = os.fsync

        def watched(descriptor: int) -> None:
            fsync(descriptor)
            if os.path.samestat(os.fstat(descriptor), self.lock.stat()):
                seen.append((self.log.exists(), self.lock.read_bytes()[8:20]))

        store = self.open()
        await put(store, "a", b"data")
        self.assertNotEqual(self.lock.read_bytes()[8:20], bytes(12))
        self.patch(os, "fsync", watched)
        await store.close()
        self.assertEqual(seen, [(True, bytes(12))])
        self.assertFalse(self.log.exists())

    async def test_two_processes_and_one_that_is_killed(self) -> None:
        """Who closes last clears the note; a crash beside it is no loss."""
        store = self.open()
        await put(store, "mine", b"data")
        run(self.folder, "await put('theirs', 1000); os.kill(os.getpid(), 9)")
        run(self.folder, "await put('more', 1000)")
        await store.close()
        self.assertFalse(self.log.exists())
        self.assertEqual(sorted(await self.open().list()), ["mine", "more", "theirs"])


class PlaceTests(OpeningTestCase):
    """A folder that is moved or removed while it is open."""

    async def opened(self) -> BlobStore:
        store = self.open()
        await put(store, "before", b"data")
        await put(store, "large", content(2 * MIB))
        return store

    async def check_refused_now(self, store: BlobStore) -> None:
        words = ("moved or removed", str(self.path))
        await self.refuses(put(store, "after", b"lost"), *words)
        await self.refuses(store.update_sync_status("before", SyncStatus.SYNCED), *words)
        await self.refuses(store.update_sync_status("new", SyncStatus.PENDING_DOWNLOAD), *words)
        await self.assertFailure(put(store, "after", content(2 * MIB)), StoreError)

    async def test_moved(self) -> None:
        store = await self.opened()
        away = Path(self.mktemp()).absolute()
        self.folder.rename(away)
        await self.check_refused_now(store)
        await store.close()
        self.assertFalse(self.folder.exists())
        self.folder = away
        store = self.open()
        self.assertEqual(await read(store, "before"), b"data")
        self.assertTrue(await read(store, "large") == content(2 * MIB))
        self.assertEqual(sorted(await store.list()), ["before", "large"])

    async def test_removed(self) -> None:
        store = await self.opened()
        shutil.rmtree(self.folder)
        await self.check_refused_now(store)
        await store.close()
        self.assertFalse(self.folder.exists())

    async def test_another_one_in_its_place(self) -> None:
        """Neither is touched by the other."""
        store = await self.opened()
        away = Path(self.mktemp()).absolute()
        self.folder.rename(away)
        other = self.open()
        await put(other, "other", b"data")
        await self.check_refused_now(store)
        await store.close()
        await put(other, "more", b"data")
        self.assertEqual(sorted(await other.list()), ["more", "other"])
        self.assertEqual(self.payload_files(), [])

    async def test_another_one_is_not_read(self) -> None:
        """A thread that opens its connection later sees no other store than the others do."""
        store = self.open()
        await put(store, "before", b"data")
        self.folder.rename(Path(self.mktemp()).absolute())
        other = self.open()
        await put(other, "other", b"data")
        await self.refuses(store.get("other"), "moved or removed")

    async def test_the_log_moved(self) -> None:
        """It has a name still, but nobody would find it."""
        store = await self.opened()
        away = self.log.with_name("away")
        self.log.rename(away)
        await self.check_refused_now(store)
        await store.close()
        away.rename(self.log)
        self.assertEqual(sorted(await self.open().list()), ["before", "large"])

    async def test_the_log_emptied(self) -> None:
        """Nothing is acknowledged any more, and nothing of it comes into the database."""
        store = await self.opened()
        before = self.log.read_bytes()
        os.truncate(self.log, 0)
        await put(store, "goes-on", b"data")
        await self.refuses(put(store, "lost", b"data"), "damaged", str(self.log))
        await store.close()
        await self.check_refused(str(self.log), "damaged")
        self.log.write_bytes(before)
        await self.check_refused(str(self.log))

    async def test_the_log_removed(self) -> None:
        store = await self.opened()
        self.log.unlink()
        await self.check_refused_now(store)
