"""Disks that are full, small enough to be filled: what is there can be deleted."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from twisted.trial.unittest import SkipTest

from blobman.errors import BlobError, StoreError
from blobman.local import BlobStore
from blobman.model import SyncStatus

from .child import run
from .contract import MIB, content
from .test_faults import DiskTestCase, put, read


class SmallDiskTestCase(DiskTestCase):
    """The store is on a file system of a few MiB."""

    SIZE = 12 * MIB

    def setUp(self) -> None:
        super().setUp()
        disk = Path(self.mktemp()).absolute()
        disk.mkdir()
        options = f"size={self.SIZE},mode=0700"
        command = ["mount", "-t", "tmpfs", "-o", options, "blobman-test", str(disk)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise SkipTest("only root can make a file system") from error
        # Lazily: a store that a failure has left open is closed after this.
        self.addCleanup(subprocess.run, ["umount", "--lazy", str(disk)], check=True)
        self.folder = disk / "store"
        self.path = self.folder / "user_blobs.db"
        self.filler = disk / "filler"

    def fill_up(self) -> None:
        """Somebody else takes all that is left."""
        with open(self.filler, "ab", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError:
                pass

    async def put_until_full(self, store: BlobStore, size: int) -> list[str]:
        """Give the ids of those that could be stored."""
        there: list[str] = []
        while True:
            blob_id = f"b{size}-{len(there)}"
            try:
                await put(store, blob_id, content(size, blob_id))
            except StoreError as error:
                self.assertIn("disk is full", str(error))
                return there
            there.append(blob_id)

    async def delete(self, store: BlobStore, blob_id: str) -> None:
        """Do what a manager does."""
        await store.update_sync_status(blob_id, SyncStatus.PENDING_DELETE)
        self.assertTrue(await store.delete(blob_id))


class FullDiskTests(SmallDiskTestCase):
    async def check_all(self, store: BlobStore, ids: list[str]) -> None:
        self.assertEqual(sorted(await store.list()), sorted(ids))
        for blob_id in ids:
            size = int(blob_id[1:].partition("-")[0])
            self.assertTrue(await read(store, blob_id) == content(size, blob_id))

    async def check_full_of(self, size: int) -> None:
        store = self.open()
        # What has become free is used again.
        for _ in range(3):
            there = await self.put_until_full(store, size)
            self.assertGreaterEqual(len(there), 2)
            await self.check_all(store, there)
            while there:
                await self.delete(store, there.pop())
            self.assertEqual(await store.list(), [])

    async def test_full_of_tiny_blobs(self) -> None:
        await self.check_full_of(10_000)

    async def test_full_of_small_blobs(self) -> None:
        await self.check_full_of(300_000)

    async def test_full_of_large_blobs(self) -> None:
        await self.check_full_of(2 * MIB)

    async def test_filled_by_others(self) -> None:
        store = self.open()
        there = [f"b{size}-{n}" for n in range(3) for size in (100, 50_000, 600_000)]
        large = f"b{2 * MIB}-0"
        for blob_id in [*there, large]:
            size = int(blob_id[1:].partition("-")[0])
            await put(store, blob_id, content(size, blob_id))
        for turn in range(4):
            await store.close()
            store = self.open()
            if turn % 2:
                # Else it is opened on a disk that is full.
                await store.list()
            self.fill_up()
            await self.refuse(store)
            await self.check_all(store, [*there, large])
            await self.delete(store, there.pop(0))
        while there:
            await self.delete(store, there.pop())
        await self.delete(store, large)
        await put(store, "new", b"there is room again")

    async def refuse(self, store: BlobStore) -> None:
        """What does not fit is not stored, and nothing is left of it."""
        for size in (900_000, 3 * MIB):
            await self.refuses(put(store, "more", content(size)), "disk is full")
        self.assertIsNone(await store.get_sync_status("more"))

    async def test_killed_on_a_full_disk(self) -> None:
        """Its log can't be brought into the database by closing; it is opened and cleared."""
        lines = """
            from blobman.errors import StoreError
            number = 0
            try:
                while True:
                    await put(f'b50000-{number}', 50_000)
                    number += 1
            except StoreError:
                say(number)
                os.kill(os.getpid(), 9)
        """
        number = int(run(self.folder, lines).stdout)
        self.fill_up()
        store = self.open()
        there = sorted(await store.list())
        self.assertEqual(there, sorted(f"b50000-{n}" for n in range(number)))
        for blob_id in there:
            self.assertTrue(await read(store, blob_id) == content(50_000))
        for blob_id in there:
            await self.delete(store, blob_id)
        self.assertEqual(await store.list(), [])

    async def test_many_statuses(self) -> None:
        """They come with every transfer, and don't use the reserve up."""
        store = self.open()
        there = [f"b1000-{n}" for n in range(50)]
        for blob_id in there:
            await put(store, blob_id, content(1000, blob_id))
        self.fill_up()
        for _ in range(20):
            for blob_id in there:
                await store.increment_retries(blob_id)
        await self.check_all(store, there)
        await self.delete(store, there.pop())

    async def test_the_first_use_of_a_full_disk(self) -> None:
        self.fill_up()
        store = self.open()
        with self.assertRaises(BlobError):
            await put(store, "a", b"data")
        os.unlink(self.filler)
        await put(store, "a", b"data")
        self.assertEqual(await read(store, "a"), b"data")
