"""What a crash, or a disk that fails, must not leave behind: folders, flags, half a success."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from blobman.errors import BlobNotFoundError
from blobman.model import Flags
from blobman.server import disk, staging
from blobman.server.filesystem import FilesystemBackend
from blobman.server.layout import folder_of
from blobman.server.storage import BlobName
from blobman.server.ways import Ways

from .blobs import sealed
from .contract import name, query


def fail(*_: object) -> Any:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def fail_once(call: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function that fails the first time."""
    calls = iter([fail])
    return lambda *them: next(calls, call)(*them)


class WaysTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.root = os.path.abspath(self.mktemp())
        os.mkdir(self.root)
        self.ways = Ways(self.root)
        self.leaf = os.path.join(self.root, "a", "b")
        self.above = [self.root, os.path.join(self.root, "a")]
        self.synced: list[str] = []
        self.patch(disk, "sync_folder", self.synced.append)

    def use(self, *leaves: str) -> list[str]:
        self.synced.clear()
        with self.ways.made(leaves):
            pass
        return sorted(self.synced)

    def test_once(self) -> None:
        self.assertEqual(self.use(self.leaf), [*self.above, self.leaf])
        self.assertEqual(self.use(self.leaf), [self.leaf])
        self.assertTrue(self.ways.are_durable)

    def test_a_sync_that_fails(self) -> None:
        for number in range(3):
            calls = iter([self.synced.append] * number + [fail] + [self.synced.append] * 9)
            with self.patched("sync_folder", lambda path, calls=calls: next(calls)(path)):
                self.assertRaises(OSError, self.use, self.leaf)
            expected = {*self.above} - {*self.synced} | {self.leaf}
            self.assertEqual(set(self.use(self.leaf)), expected)
            shutil.rmtree(os.path.join(self.root, "a"))

    @contextmanager
    def patched(self, function: str, fake: Callable[..., Any]) -> Iterator[None]:
        patch = self.patch(disk, function, fake)
        try:
            yield
        finally:
            patch.restore()

    def test_a_block_that_fails(self) -> None:
        def use_and_fail() -> None:
            with self.ways.made([self.leaf]):
                fail()

        self.assertRaises(OSError, use_and_fail)
        self.assertFalse(self.ways.are_durable)
        self.assertEqual(self.use(self.leaf), [*self.above, self.leaf])

    def test_folders_that_are_made_halfway(self) -> None:
        def make_one(*_: object) -> None:
            os.mkdir(self.above[1])
            fail()

        with self.patched("make_folders", make_one):
            self.assertRaises(OSError, self.use, self.leaf)
        self.assertEqual(self.use(self.leaf), [*self.above, self.leaf])

    def test_which_are_new(self) -> None:
        self.assertTrue(self.ways.make(self.leaf))
        self.assertFalse(self.ways.make(self.leaf))
        self.assertFalse(self.ways.make(self.above[1]))

    def test_one_that_somebody_else_makes_meanwhile(self) -> None:
        mkdir = os.mkdir

        def make_it_twice(path: str, mode: int) -> None:
            mkdir(path, mode)
            if path == self.above[1]:
                mkdir(self.leaf)

        self.patch(os, "mkdir", make_it_twice)
        self.assertFalse(self.ways.make(self.leaf))

    def test_all_at_once(self) -> None:
        self.ways.make(self.leaf)
        with self.ways.all_synced():
            self.ways.make(os.path.join(self.root, "a", "c"))
        self.assertEqual(self.use(self.leaf), [self.above[1], self.leaf])

    def test_what_is_found_after_a_crash(self) -> None:
        os.makedirs(self.leaf)
        self.ways.are_trusted = False
        for _ in range(2):
            self.assertEqual(self.use(self.leaf), [*self.above, self.leaf])


class FolderTests(TestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        self.root = self.mktemp()
        self.backend = await self.open()
        self.synced: list[str] = []

    async def open(self) -> FilesystemBackend:
        backend = FilesystemBackend(self.root, threads=1)
        await backend.open()
        self.addCleanup(backend.close)
        return backend

    def record_syncs(self) -> None:
        sync_folder = disk.sync_folder

        def record(path: str) -> None:
            self.synced.append(os.path.relpath(path, self.root))
            sync_folder(path)

        self.patch(disk, "sync_folder", record)

    async def upload(self, blob: BlobName, content: bytes, *flags: Flags) -> None:
        upload = await self.backend.receive(blob, len(content))
        try:
            await upload.write([content])
        except BaseException:
            await upload.discard()
            raise
        await upload.publish(flags)

    def path(self, blob: BlobName, suffix: str = "") -> str:
        return os.path.join(folder_of(self.root, blob), blob.blob_id + suffix)

    async def test_a_large_one_beside_a_small_one(self) -> None:
        await self.backend.store([(name("abcdef1"), sealed())])
        self.record_syncs()
        await self.upload(name("abcdef2"), sealed())
        leaf = "alice/default/a/abc/abcdef"
        above = {".", "alice", "alice/default", "alice/default/a", "alice/default/a/abc"}
        self.assertEqual(set(self.synced), above | {leaf})

    async def test_a_start_after_a_crash(self) -> None:
        await self.upload(name("a"), sealed())
        crashed = self.mktemp()
        shutil.copytree(self.root, crashed)
        self.root = crashed
        synced: list[int] = []
        self.patch(disk, "sync_file_system", synced.append)
        backend = await self.open()
        self.assertEqual(len(synced), 1)
        await backend.close()
        await self.open()
        self.assertEqual(len(synced), 1)

    async def test_a_start_after_a_crash_where_all_has_to_be_synced_one_by_one(self) -> None:
        await self.upload(name("abcdef1"), sealed())
        crashed = self.mktemp()
        shutil.copytree(self.root, crashed)
        self.root = crashed
        self.patch(disk, "_syncfs", None)
        self.backend = await self.open()
        self.record_syncs()
        await self.upload(name("abcdef2"), sealed())
        self.assertLessEqual({".", "alice", "alice/default/a/abc"}, set(self.synced))

    async def test_a_blob_that_can_not_be_made_durable(self) -> None:
        self.patch(disk, "sync_folder", fail_once(disk.sync_folder))
        await self.assertFailure(self.upload_later(name("a"), sealed("1")), OSError)
        await self.assertFailure(self.backend.read(name("a")), BlobNotFoundError)
        self.assertEqual(await self.backend.list("alice", query()), [])
        self.assertEqual(self.backend._folder.accounts.used("alice"), 0)
        await self.upload(name("a"), sealed("2"))
        stored = await self.backend.read(name("a"))
        self.assertEqual(await stored.read(0, 800), sealed("2"))
        stored.close()

    def upload_later(self, blob: BlobName, content: bytes) -> Any:
        return Deferred.fromCoroutine(self.upload(blob, content))

    async def test_a_flush_that_fails(self) -> None:
        """The system tells of a failed write once; the blob must not be taken for stored."""
        self.patch(staging, "FLUSH_EVERY", 1)
        self.patch(os, "fsync", fail_once(os.fsync))
        await self.assertFailure(self.upload_later(name("a"), sealed()), OSError)
        await self.assertFailure(self.backend.read(name("a")), BlobNotFoundError)
        self.assertEqual(await self.backend.list("alice", query()), [])
        await self.upload(name("a"), sealed())

    # -- flags -----------------------------------------------------------------------

    def leave_flags(self, *blobs: BlobName) -> None:
        for blob in blobs:
            os.makedirs(os.path.dirname(self.path(blob)), exist_ok=True)
            with open(self.path(blob, ".flags"), "w") as file:
                file.write('["FAILED"]')

    async def test_flags_that_a_crash_left(self) -> None:
        small, large, delivered = name("small"), name("large"), name("delivered")
        self.leave_flags(small, large, delivered)
        await self.backend.store([(small, sealed())])
        await self.upload(large, sealed())
        await self.upload(delivered, sealed(), Flags.PENDING)
        self.assertEqual(await self.backend.get_flags(small), [])
        self.assertEqual(await self.backend.get_flags(large), [])
        self.assertEqual(await self.backend.get_flags(delivered), [Flags.PENDING])
        self.assertEqual(await self.backend.list("alice", query(flag=Flags.FAILED)), [])
        await self.backend.delete(delivered)
        self.assertFalse(os.path.exists(self.path(delivered, ".flags")))

    async def test_a_crash_while_it_is_deleted(self) -> None:
        await self.upload(name("a"), sealed("1"), Flags.FAILED)
        remove = disk.remove

        def remove_no_flags(path: str) -> bool:
            return fail() if path.endswith(".flags") else remove(path)

        patch = self.patch(disk, "remove", remove_no_flags)
        await self.assertFailure(self.backend.delete(name("a")), OSError)
        patch.restore()
        await self.upload(name("a"), sealed("2"))
        self.assertEqual(await self.backend.get_flags(name("a")), [])
