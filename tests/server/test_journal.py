"""Small blobs through a power cut: only the journal is sure to be on the disk."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from blobman.errors import BlobNotFoundError
from blobman.model import Flags
from blobman.server import disk, filesystem
from blobman.server.filesystem import FilesystemBackend
from blobman.server.folder import BlobFolder
from blobman.server.layout import TOMBSTONE, folder_of
from blobman.server.storage import BlobName

from .blobs import sealed
from .contract import name, query


def empty(path: str) -> None:
    os.truncate(path, 0)


def cut(path: str) -> None:
    os.truncate(path, os.path.getsize(path) // 2)


def garble(path: str) -> None:
    with open(path, "r+b") as file:
        file.write(b"\0" * 100)


DAMAGES: tuple[Callable[[str], Any], ...] = (empty, cut, garble, os.unlink)


class BackendCase(TestCase):
    """A backend whose folder can be taken as a power cut would leave it."""

    async def setUp(self) -> None:  # type: ignore[override]
        self.root = self.mktemp()
        self.backend = await self.open(self.root)

    async def open(self, root: str) -> FilesystemBackend:
        backend = FilesystemBackend(root, threads=1)
        await backend.open()
        self.addCleanup(backend.close)
        return backend

    def path(self, blob: BlobName, root: str) -> str:
        return os.path.join(folder_of(root, blob), blob.blob_id)

    async def after_a_power_cut(
        self, damage: Callable[[str], Any], *damaged: BlobName
    ) -> FilesystemBackend:
        root = self.mktemp()
        shutil.copytree(self.root, root)
        for blob in damaged:
            damage(self.path(blob, root))
        return await self.open(root)

    async def content(self, backend: FilesystemBackend, blob: BlobName) -> bytes:
        stored = await backend.read(blob)
        self.addCleanup(stored.close)
        return await stored.read(0, stored.size)


class PowerCutTests(BackendCase):
    async def test_what_was_stored_is_there(self) -> None:
        batch = [(name(f"blob{number}"), sealed(str(number))) for number in range(20)]
        self.assertEqual(await self.backend.store(batch), [None] * 20)
        for damage in DAMAGES:
            after = await self.after_a_power_cut(damage, *(blob for blob, _ in batch[5:]))
            for blob, content in batch:
                self.assertEqual(await self.content(after, blob), content)
            self.assertEqual(await after.count("alice", query()), 20)

    async def test_a_folder_that_is_gone(self) -> None:
        await self.backend.store([(name("a"), sealed())])
        after = await self.after_a_power_cut(lambda _: None)
        await after.close()
        root = os.path.join(self.mktemp(), "data")
        shutil.copytree(self.root, root, ignore=shutil.ignore_patterns("alice"))
        self.assertEqual(await self.content(await self.open(root), name("a")), sealed())

    async def test_what_was_deleted_is_gone(self) -> None:
        await self.backend.store([(name("a"), sealed()), (name("b"), sealed())])
        await self.backend.delete(name("a"))
        after = await self.after_a_power_cut(empty, name("b"))
        await self.assertFailure(after.read(name("a")), BlobNotFoundError)
        self.assertEqual(await after.list("alice", query(deleted=True)), ["a"])
        self.assertEqual(await self.content(after, name("b")), sealed())

    async def test_the_last_of_a_name_counts(self) -> None:
        await self.backend.store([(name("a"), sealed("first"))])
        await self.backend.delete(name("a"))
        await self.backend.store([(name("a"), sealed("second"))])
        after = await self.after_a_power_cut(empty, name("a"))
        self.assertEqual(await self.content(after, name("a")), sealed("second"))

    async def test_a_large_one_takes_the_place_of_a_small_one(self) -> None:
        await self.backend.store([(name("a"), sealed("small"))])
        await self.backend.delete(name("a"))
        upload = await self.backend.receive(name("a"))
        await upload.write([sealed("large", 1_000_000)])
        await upload.publish()
        after = await self.after_a_power_cut(lambda _: None)
        self.assertEqual(await self.content(after, name("a")), sealed("large", 1_000_000))

    async def test_flags_stay(self) -> None:
        await self.backend.store([(name("a"), sealed())])
        await self.backend.set_flags(name("a"), [Flags.PROCESSED])
        after = await self.after_a_power_cut(lambda _: None)
        self.assertEqual(await after.get_flags(name("a")), [Flags.PROCESSED])
        self.assertEqual(await self.content(after, name("a")), sealed())

    async def test_two_power_cuts(self) -> None:
        await self.backend.store([(name("a"), sealed())])
        journal = os.path.join(self.root, ".blobman", "journal")
        first = self.mktemp()
        shutil.copytree(journal, first)
        after = await self.after_a_power_cut(empty, name("a"))
        await after.close()
        # The second came before the segments were gone.
        shutil.rmtree(journal)
        shutil.copytree(first, journal)
        again = await self.after_a_power_cut(cut, name("a"))
        self.assertEqual(await self.content(again, name("a")), sealed())
        self.assertEqual(os.listdir(os.path.join(self.root, ".blobman", "staging")), [])

    async def test_a_disk_that_is_full(self) -> None:
        await self.backend.store([(name("a"), sealed("a"))])
        self.fail_to_write()
        await self.assertFailure(self.backend.store([(name("b"), sealed("b"))]), OSError)
        self.assertEqual(await self.backend.list("alice", query()), ["a"])
        self.restore()
        self.assertEqual(await self.backend.store([(name("c"), sealed("c"))]), [None])
        after = await self.after_a_power_cut(empty, name("a"), name("c"))
        self.assertEqual(await after.list("alice", query()), ["a", "c"])
        self.assertEqual(await self.content(after, name("c")), sealed("c"))

    async def test_what_failed_does_not_come_back(self) -> None:
        await self.fail_to_store([(name("a"), sealed("a")), (name("b"), sealed("b"))], name("b"))
        self.assertEqual(await self.backend.list("alice", query()), ["a"])
        after = await self.after_a_power_cut(lambda _: None)
        self.assertEqual(await after.list("alice", query()), ["a"])
        self.assertEqual(await self.content(after, name("a")), sealed("a"))
        self.assertEqual(await self.backend.store([(name("b"), sealed("again"))]), [None])
        after = await self.after_a_power_cut(os.unlink, name("b"))
        self.assertEqual(await self.content(after, name("b")), sealed("again"))

    async def test_what_fails_beside_others(self) -> None:
        await self.backend.store([(name("folder1"), sealed("1")), (name("folder2"), sealed("2"))])
        await self.backend.delete(name("folder2"))
        failing = [(name("folder3"), sealed("3")), (name("folder2"), sealed("again"))]
        await self.fail_to_store(failing, name("folder2"), "link")
        self.assertEqual(await self.backend.list("alice", query()), ["folder1", "folder3"])
        self.assertEqual(await self.backend.list("alice", query(deleted=True)), ["folder2"])
        after = await self.after_a_power_cut(lambda _: None)
        self.assertEqual(await after.list("alice", query()), ["folder1", "folder3"])
        self.assertEqual(os.listdir(os.path.join(self.root, ".blobman", "staging")), [])

    async def fail_to_store(
        self, batch: list[tuple[BlobName, bytes]], failing: BlobName, move: str = "replace"
    ) -> None:
        real = getattr(os, move)

        def fail(source: str, path: str) -> None:
            if os.path.basename(path) == failing.blob_id:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            real(source, path)

        patch = self.patch(os, move, fail)
        await self.assertFailure(self.backend.store(batch), OSError)
        patch.restore()

    async def test_flags_that_the_disk_did_not_lose(self) -> None:
        await self.backend.store([(name("a"), sealed("a")), (name("b"), sealed("b"))])

        def damage_and_flag(path: str) -> None:
            with open(path + ".flags", "w") as file:
                file.write('["FAILED"]')

        after = await self.after_a_power_cut(damage_and_flag, name("a"))
        self.assertEqual(await after.get_flags(name("a")), [])
        self.assertEqual(await after.list("alice", query(flag=Flags.FAILED)), [])

    async def test_the_journals_own_folder(self) -> None:
        synced: list[str] = []
        sync_folder = disk.sync_folder

        def record(path: str) -> None:
            synced.append(path)
            sync_folder(path)

        self.patch(disk, "sync_folder", record)
        await self.backend.store([(name("a"), sealed())])
        own = os.path.abspath(os.path.join(self.root, ".blobman"))
        self.assertLessEqual({own, os.path.join(own, "journal")}, set(synced))

    def fail_to_write(self) -> None:
        def write_half(descriptor: int, pieces: Sequence[bytes]) -> None:
            data = b"".join(pieces)
            os.write(descriptor, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        patch = self.patch(disk, "write_pieces", write_half)
        self.restore = patch.restore

    async def test_where_all_has_to_be_synced_one_by_one(self) -> None:
        self.patch(disk, "_syncfs", None)
        await self.backend.store([(name("a"), sealed("a")), (name("gone"), sealed())])
        after = await self.after_a_power_cut(os.unlink, name("gone"))
        self.assertEqual(await self.content(after, name("gone")), sealed())
        await after.close()
        await self.backend.delete(name("gone"))
        await self.fail_to_store([(name("far-away"), sealed())], name("far-away"))
        await self.backend.close()
        self.assertEqual(os.listdir(os.path.join(self.root, ".blobman", "journal")), [])


class SettlingTests(BackendCase):
    def segments(self) -> list[str]:
        return os.listdir(os.path.join(self.root, ".blobman", "journal"))

    async def test_the_end(self) -> None:
        await self.backend.store([(name("a"), sealed())])
        self.assertEqual(len(self.segments()), 1)
        await self.backend.close()
        self.assertEqual(self.segments(), [])

    async def test_after_some_time(self) -> None:
        clock, reactor = Clock(), self.backend._reactor
        self.patch(self.backend, "_reactor", _WithClock(reactor, clock))
        await self.backend.store([(name("a"), sealed())])
        await self.backend.store([(name("b"), sealed())])
        self.assertEqual(len(clock.getDelayedCalls()), 1)
        clock.advance(filesystem.SETTLE_AFTER)
        # The one thread does one thing after another.
        self.assertEqual(await self.backend.count("alice", query()), 2)
        self.assertEqual(self.segments(), [])

    async def test_what_comes_while_it_is_emptied(self) -> None:
        root = self.mktemp()
        backend = FilesystemBackend(root, threads=2)
        await backend.open()
        self.addCleanup(backend.close)
        clock = Clock()
        self.patch(backend, "_reactor", _WithClock(backend._reactor, clock))
        has_begun, may_end, sync = threading.Event(), threading.Event(), disk.sync_file_system
        self.addCleanup(may_end.set)

        def wait_and_sync(descriptor: int) -> None:
            has_begun.set()
            may_end.wait(20)
            sync(descriptor)

        self.patch(disk, "sync_file_system", wait_and_sync)
        ended: Deferred[None] = Deferred()
        settled = backend._settled

        def tell(result: object) -> None:
            settled(result)
            ended.callback(None)

        self.patch(backend, "_settled", tell)
        await backend.store([(name("a"), sealed())])
        clock.advance(filesystem.SETTLE_AFTER)
        await deferToThread(has_begun.wait, 20)
        await backend.store([(name("b"), sealed())])
        self.assertEqual(clock.getDelayedCalls(), [])
        may_end.set()
        # However long the disk takes.
        await ended
        self.assertEqual(len(clock.getDelayedCalls()), 1)

    async def test_when_it_is_full(self) -> None:
        clock, reactor = Clock(), self.backend._reactor
        self.patch(self.backend, "_reactor", _WithClock(reactor, clock))
        await self.backend.store([(name("a"), sealed())])
        self.patch(filesystem, "JOURNAL_LIMIT", 1000)
        await self.backend.store([(name("b"), sealed())])
        self.assertEqual([it.getTime() for it in clock.getDelayedCalls()], [0])

    async def test_a_disk_that_fails(self) -> None:
        await self.backend.store([(name("a"), sealed())])

        def fail(_: int) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        patch = self.patch(disk, "sync_file_system", fail)
        await self.backend.close()
        self.assertEqual(len(self.segments()), 1)
        patch.restore()
        await self.backend.open()
        self.assertEqual(self.segments(), [])
        self.assertEqual(await self.content(self.backend, name("a")), sealed())

    async def test_a_disk_that_failed_is_not_believed(self) -> None:
        await self.backend.store([(name("a"), sealed())])
        folder = self.backend._folder

        def fail(_: int) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        patch = self.patch(disk, "sync_file_system", fail)
        self.assertRaises(OSError, folder.settle)
        patch.restore()
        # It tells of what it has lost only once.
        self.assertRaises(OSError, folder.settle)
        self.assertEqual(len(self.segments()), 1)
        self.assertEqual(await self.backend.store([(name("b"), sealed("b"))]), [None])
        after = await self.after_a_power_cut(empty, name("a"), name("b"))
        self.assertEqual(await self.content(after, name("a")), sealed())
        self.assertEqual(await self.content(after, name("b")), sealed("b"))


class _WithClock:
    """A reactor whose time is a clock's."""

    def __init__(self, reactor: Any, clock: Clock) -> None:
        self.callFromThread = reactor.callFromThread
        self.callLater = clock.callLater


class LockTests(SynchronousTestCase):
    def test_a_name_twice_in_a_batch(self) -> None:
        folder = BlobFolder(self.mktemp())
        folder.open()
        self.addCleanup(folder.close)
        outcomes = folder.store([(name("a"), sealed("1")), (name("a"), sealed("2"))])
        self.assertEqual(
            [type(it).__name__ for it in outcomes], ["NoneType", "BlobAlreadyExistsError"]
        )
        self.assertEqual(folder.accounts.used("alice"), 800)
        self.assertNotIn(TOMBSTONE, os.listdir(folder_of(folder.root, name("a"))))
