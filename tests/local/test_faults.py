"""What goes wrong on the disk: each has its own words, and nothing is lost by it."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path
from typing import Any
from unittest.mock import patch

import apsw
from twisted.internet.defer import Deferred, DeferredList, gatherResults
from twisted.trial.unittest import TestCase

from blobman import disk
from blobman.errors import BlobNotFoundError, StoreError, StoreFullError, WrongKeyError
from blobman.local import BlobStore, payload_writer
from blobman.local.connection import connect, derive_key
from blobman.model import SyncStatus

from .child import run
from .contract import MIB, content

KEY = b"the right key"


class DiskTestCase(TestCase):
    """Stores in a folder of the test's own."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.path = self.folder / "user_blobs.db"

    def open(self, key: bytes | str = KEY, **more: Any) -> BlobStore:
        store = BlobStore(self.folder, "user", key, **more)
        self.addCleanup(store.close)
        return store

    async def fill(self) -> None:
        store = self.open()
        await put(store, "small", content(50_000))
        await put(store, "large", content(3 * MIB))
        await store.close()

    async def check_filled(self) -> None:
        store = self.open()
        self.assertTrue(await read(store, "small") == content(50_000))
        self.assertTrue(await read(store, "large") == content(3 * MIB))
        await store.close()

    async def refuses(self, work: Deferred[Any], *words: str) -> StoreError:
        error: StoreError = await self.assertFailure(work, StoreError)
        for word in words:
            self.assertIn(word, str(error))
        return error

    def payload_files(self) -> list[Path]:
        folder = self.path.with_suffix(".payloads")
        return sorted(path for path in folder.glob("*") if path.is_file())


def put(store: BlobStore, blob_id: str, data: bytes) -> Deferred[None]:
    return store.put(blob_id, io.BytesIO(data), len(data))


async def read(store: BlobStore, blob_id: str) -> bytes | None:
    file = await store.get(blob_id)
    return None if file is None else file.read()


class FileTests(DiskTestCase):
    async def test_modes(self) -> None:
        old = os.umask(0)
        self.addCleanup(os.umask, old)
        self.folder = self.folder / "deep" / "down"
        self.path = self.folder / "user_blobs.db"
        await self.fill()
        for folder in (self.folder, self.folder.parent, self.path.with_suffix(".payloads")):
            self.assertEqual(folder.stat().st_mode & 0o777, 0o700, folder)
        store = self.open()
        await put(store, "more", b"keeps the log alive")
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        self.assertGreaterEqual(len(files), 5)
        for path in files:
            self.assertEqual(path.stat().st_mode & 0o777, 0o600, path)

    async def test_nothing_happens_before_the_first_work(self) -> None:
        store = self.open()
        self.assertFalse(self.folder.exists())
        await store.close()
        self.assertFalse(self.folder.exists())

    async def test_nothing_lies_there_in_the_clear(self) -> None:
        marker = b"can anybody read this? " * 5000
        store = self.open()
        await put(store, "a-telling-name", marker)
        await put(store, "another-telling-name", marker * 20)
        for path in [path for path in self.folder.rglob("*") if path.is_file()]:
            found = path.read_bytes()
            for secret in (marker[:23], b"telling-name", KEY, b"CREATE TABLE", b"SQLite format"):
                self.assertNotIn(secret, found, path)

    async def test_deleting_a_large_blob_gives_its_room_back(self) -> None:
        await self.fill()
        self.assertEqual(len(self.payload_files()), 1)
        store = self.open()
        await store.update_sync_status("large", SyncStatus.SYNCED)
        await store.delete("large")
        self.assertEqual(self.payload_files(), [])

    async def test_what_fails_leaves_no_file(self) -> None:
        store = self.open()
        await put(store, "large", content(3 * MIB))
        for work in (
            put(store, "large", content(3 * MIB)),
            store.put("other", io.BytesIO(content(3 * MIB)), 3 * MIB - 1),
            store.put("third", io.BytesIO(content(3 * MIB)), 30 * MIB),
        ):
            await self.assertFailure(work, Exception)
        staged = store.stage("large")
        staged.write(content(4 * MIB))
        await staged.publish(b"")
        self.assertEqual(len(self.payload_files()), 1)


class KeyTests(DiskTestCase):
    async def test_wrong_key(self) -> None:
        await self.fill()
        before = self.path.read_bytes()
        store = self.open(b"the wrong key")
        every: list[Deferred[Any]] = [
            store.get("small"),
            store.list(),
            put(store, "new", b""),
            put(store, "new", content(2 * MIB)),
            store.update_sync_status("new", SyncStatus.PENDING_DOWNLOAD),
            store.stage("new").publish(b""),
            store.delete("small"),
        ]
        for work in every:
            error: Any = await self.assertFailure(work, WrongKeyError)
            self.assertIn(str(self.path), str(error))
            self.assertIsNotNone(error.__cause__)
        await store.close()
        self.assertEqual(self.path.read_bytes(), before)
        await self.check_filled()

    async def test_wrong_key_after_a_crash(self) -> None:
        """The log that a crash left is as it was, too."""
        run(self.folder, "await put('a', 10_000); os.kill(os.getpid(), 9)")
        log = Path(f"{self.path}-wal")
        before = self.path.read_bytes(), log.read_bytes()
        self.assertTrue(before[1])
        store = self.open(b"the wrong key")
        await self.assertFailure(store.list(), WrongKeyError)
        await store.close()
        self.assertEqual((self.path.read_bytes(), log.read_bytes()), before)
        self.assertEqual(await self.open().list(), ["a"])

    async def test_wrong_key_beside_the_right_one(self) -> None:
        right, wrong = self.open(), self.open(b"the wrong key")
        await put(right, "a", b"data")
        await self.assertFailure(wrong.list(), WrongKeyError)
        await wrong.close()
        self.assertEqual(await read(right, "a"), b"data")

    async def test_text_and_bytes(self) -> None:
        await put(self.open("clé"), "a", b"data")
        self.assertEqual(await read(self.open("clé".encode("latin-1")), "a"), b"data")

    def test_bad_keys(self) -> None:
        for key, kind in (("", ValueError), (b"", ValueError), ("ключ", ValueError)):
            error = self.assertRaises(kind, BlobStore, self.folder, "user", key)
            self.assertIsNone(error.__cause__)
            self.assertNotIn("ключ", str(error))
        self.assertRaises(TypeError, BlobStore, self.folder, "user", None)
        self.assertRaises(ValueError, BlobStore, self.folder, "a/b", KEY)

    async def test_the_key_is_never_shown(self) -> None:
        await self.fill()
        store = self.open(b"the wrong key")
        error: Any = await self.assertFailure(store.list(), WrongKeyError)
        raw = derive_key(b"the wrong key").hex()
        shown = [repr(store), str(store), repr(error), str(error), repr(error.__cause__)]
        for text in (*shown, repr(vars(store)), repr(vars(store._database).keys())):
            self.assertNotIn(raw, text)
            self.assertNotIn("wrong key'", text)

    async def test_apsw_that_can_not_encrypt(self) -> None:
        with patch.object(apsw, "mc_version", None):
            error = await self.refuses(self.open().list(), "in the clear", "apsw-sqlite3mc")
        self.assertNotIsInstance(error, WrongKeyError)
        self.assertEqual(self.path.stat().st_size, 0)


class DamageTests(DiskTestCase):
    async def test_not_encrypted(self) -> None:
        self.folder.mkdir()
        plain = apsw.Connection(str(self.path))
        plain.execute("CREATE TABLE t (x)")
        plain.close()
        error = await self.refuses(self.open().list(), "not encrypted")
        self.assertNotIsInstance(error, WrongKeyError)

    async def test_unreadable(self) -> None:
        self.path.mkdir(parents=True)
        await self.refuses(self.open().list(), "can't be opened", str(self.path))

    async def test_folder_is_a_file(self) -> None:
        self.folder.write_bytes(b"")
        await self.refuses(self.open().list(), "can't be read or written")

    async def test_damaged_page(self) -> None:
        store = self.open()
        for number in range(30):
            await put(store, f"b{number}", content(100_000))
        await store.close()
        with open(self.path, "r+b") as file:
            for page in range(20, 150):
                file.seek(page * 16384 + 5000)
                file.write(b"scratch")
        store = self.open()
        results = await DeferredList([store.get(f"b{n}") for n in range(30)], consumeErrors=True)
        failures: list[Any] = [result for fine, result in results if not fine]
        self.assertTrue(failures)
        for failure in failures:
            failure.trap(StoreError)
            self.assertIn("is damaged", str(failure.value))

    async def test_damaged_payload(self) -> None:
        await self.fill()
        (path,) = self.payload_files()
        whole = path.read_bytes()
        path.write_bytes(whole[:2_000_000] + b"scratch" + whole[2_000_007:])
        file = await self.open().get("large")
        assert file is not None
        error = self.assertRaises(StoreError, file.read)
        self.assertIn("is damaged", str(error))
        self.assertIn("'large'", str(error))

    async def test_cut_payload(self) -> None:
        await self.fill()
        (path,) = self.payload_files()
        os.truncate(path, path.stat().st_size // 2)
        store = self.open()
        await self.refuses(store.get("large"), "is damaged")

    async def test_payload_of_another_blob(self) -> None:
        """Two files can't be exchanged: each has a key of its own."""
        await self.fill()
        store = self.open()
        await put(store, "second", content(3 * MIB, "second"))
        await store.close()
        one, other = self.payload_files()
        one.rename(one.with_name("x"))
        other.rename(one)
        one.with_name("x").rename(other)
        store = self.open()
        await self.refuses(store.get("second"), "is damaged")
        self.assertTrue(await read(store, "small") == content(50_000))

    async def test_missing_payload(self) -> None:
        await self.fill()
        (path,) = self.payload_files()
        store = self.open()
        file = await store.get("small")
        path.unlink()
        await self.refuses(store.get("large"), "'large'", "is missing")
        assert file is not None
        self.assertTrue(file.read() == content(50_000))

    async def test_payload_that_goes_while_it_is_read(self) -> None:
        await self.fill()
        store, other = self.open(), self.open()
        payload = await store.open_payload("large")
        assert payload is not None
        await other.update_sync_status("large", SyncStatus.SYNCED)
        await other.delete("large")
        # It is still open here; once it is not, it is gone.
        self.assertTrue(await payload.read_chunk(0) == content(3 * MIB)[:MIB])
        self.assertEqual(self.payload_files(), [])
        for opened in store._database.payloads._open.values():
            opened.close()
        await self.assertFailure(payload.read_chunk(1), BlobNotFoundError)


class FullTests(DiskTestCase):
    async def test_page_limit(self) -> None:
        store = self.open()
        await put(store, "a", content(100_000))
        await store._database.write(
            lambda connection: connection.execute("PRAGMA max_page_count=30").fetchall()
        )
        error = await self.refuses(put(store, "b", content(900_000)), "disk is full")
        self.assertIsInstance(error, StoreFullError)
        self.assertEqual(await store.list(), ["a"])
        await put(store, "c", content(10))
        work = [put(store, "d", content(900_000)), put(store, "e", content(10))]
        await self.refuses(work[0], "disk is full")
        await work[1]
        self.assertEqual(await store.list(), ["a", "c", "e"])

    def test_file_size_limit(self) -> None:
        """In a process that may write no more than 8 MB to one file."""
        script = """
            import resource, signal
            from blobman.errors import StoreError
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            await put('before', 3_000_000)
            resource.setrlimit(resource.RLIMIT_FSIZE, (8_000_000, 8_000_000))
            for size in (20_000_000, 60_000_000):
                try:
                    await put('large', size)
                except StoreError as error:
                    assert 'disk is full' in str(error), error
                    assert error.__cause__ is not None
                else:
                    raise AssertionError('it fitted')
            failed = 0
            for number in range(20):
                try:
                    await put(f'small{number}', 900_000)
                except StoreError as error:
                    assert 'disk is full' in str(error), error
                    failed += 1
            assert failed, failed
            assert len(os.listdir(os.path.join(folder, 'user_blobs.payloads'))) == 1
            assert (await store.get('before')).read() == content(3_000_000)
            # What is there can be deleted, and there is room again.
            for blob_id in await store.list():
                await store.update_sync_status(blob_id, SyncStatus.PENDING_DELETE)
                assert await store.delete(blob_id)
            assert await store.list() == []
            for number in range(20 - failed):
                await put(f'again{number}', 900_000)
            print('fine', 20 - failed)
        """
        self.assertIn("fine", run(self.folder, script).stdout)


class FlushTests(DiskTestCase):
    def test_flush_that_fails(self) -> None:
        """The system tells of a failed write once; the file must not be taken for whole."""
        writer = payload_writer.PayloadWriter(self.folder)
        writer.append([content(MIB)])
        broken = OSError(errno.EIO, os.strerror(errno.EIO))
        with patch.object(disk, "sync", side_effect=broken):
            writer.flush()
        self.assertRaises(StoreError, writer.finish)
        writer.discard()
        self.assertEqual(os.listdir(self.folder), [])

    def test_flush_after_the_end(self) -> None:
        writer = payload_writer.PayloadWriter(self.folder)
        writer.append([content(MIB)])
        writer.discard()
        writer.flush()
        self.assertEqual(os.listdir(self.folder), [])


class LockTests(DiskTestCase):
    async def test_new_ones_that_are_opened_by_many_at_once(self) -> None:
        for number in range(20):
            self.folder = Path(self.mktemp()).absolute()
            stores = [self.open() for _ in range(4)]
            putting = [put(store, f"{n}", b"data") for n, store in enumerate(stores)]
            await gatherResults(putting)
            self.assertEqual(len(await stores[0].list()), len(stores), number)
            for store in stores:
                await store.close()

    async def test_one_of_two_in_a_process_is_closed(self) -> None:
        """The other one still has the lock that SQLite shares for as long as it is open."""
        stores = [self.open(), self.open()]
        for number, store in enumerate(stores):
            await put(store, f"{number}", content(100_000))
        await stores[0].close()
        lines = """
            import fcntl
            with open(os.path.join(folder, 'user_blobs.db'), 'r+b') as file:
                try:
                    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 510, 0x40000002)
                except BlockingIOError:
                    say('locked')
        """
        self.assertIn("locked", run(self.folder, lines).stdout)
        await stores[1].close()
        self.assertNotIn("locked", run(self.folder, lines).stdout)

    async def test_locked_by_another_process(self) -> None:
        store = self.open(patience=0.05)
        await put(store, "a", b"data")
        other = connect(str(self.path), derive_key(KEY))
        other.execute("BEGIN IMMEDIATE")
        error = await self.refuses(put(store, "b", b"data"), "locked by another process")
        self.assertIsInstance(error.__cause__, apsw.BusyError)
        self.assertEqual(await read(store, "a"), b"data")
        other.execute("COMMIT")
        other.close()
        await put(store, "b", b"data")
