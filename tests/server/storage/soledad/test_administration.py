"""What an administrator does to a folder that is taken over, or is to be."""

from __future__ import annotations

import fcntl
import os
import resource
import shutil
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from blobman.errors import StoreError
from blobman.model import Flags
from blobman.server.running.administration import adopt, read_usage, survey
from blobman.server.storage.interface import BlobName, UnavailableError
from blobman.server.storage.maintenance.backup import back_up
from blobman.server.storage.maintenance.check import check
from blobman.server.storage.maintenance.restore import restore

from .case import AdoptionCase, Heard
from .older import OlderFolder, record, sealed

PATH = "alice/default/a/a/a/a"


class FolderTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.root = os.path.abspath(self.mktemp())
        self.older = OlderFolder(self.root)
        for number in range(700):
            self.older.put(("alice", "default", f"b{number}"), sealed(str(number)))

    def there(self) -> list[str]:
        return sorted(str(it) for it in Path(self.root).rglob("*"))

    def test_a_server_of_before_is_running(self) -> None:
        lock = os.open(self.older.own() / "lock", os.O_RDWR | os.O_CREAT)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        before = self.there()
        error = self.assertRaises(StoreError, adopt, self.root)
        self.assertIn("another server", str(error))
        report = survey(self.root, Heard())
        self.assertEqual(self.there(), before)
        os.close(lock)
        self.assertEqual(adopt(self.root, Heard()), report)
        self.assertIsNone(adopt(self.root))
        self.assertIsNone(survey(self.root))

    def test_a_full_disk(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        try:
            self.assertRaises(UnavailableError, adopt, self.root, Heard())
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        self.assertRaises(StoreError, read_usage, self.root)
        report = adopt(self.root, Heard())
        assert report is not None
        self.assertEqual(report.blobs, 700)
        [usage] = read_usage(self.root)
        self.assertEqual((usage.blobs, usage.size), (700, 700 * 800))

    def test_a_folder_that_is_not_there(self) -> None:
        missing = self.root + "-missing"
        self.assertRaises(StoreError, survey, missing)
        self.assertFalse(os.path.exists(missing))


class UpkeepTests(AdoptionCase):
    """A folder that was taken over is looked after as any other."""

    async def fill(self) -> None:
        self.older.put(("alice", "default", "a"), sealed("a"), b'["PENDING"]')
        self.older.put(("alice", "default", "large"), sealed("large", 300_000))
        self.older.tombstone(("alice", "default", "t"))
        self.older.journal(1, record(b"D", ("alice", "default", "j"), sealed("j")))
        backend = await self.open()
        await backend.close()

    async def test_nothing_is_damaged(self) -> None:
        await self.fill()
        self.assertEqual(list(check(self.root, True)), [])

    async def test_damage_is_named(self) -> None:
        await self.fill()
        path = os.path.join(self.root, PATH)
        for content in (sealed("b"), sealed("a") + b"x", sealed("a")[:-1]):
            Path(path).write_bytes(content)
            [found] = check(self.root, False)
            self.assertIn(PATH, str(found))
        os.unlink(path)
        [found] = check(self.root, False)
        self.assertIn("alice", str(found))

    async def test_a_backup_is_restored(self) -> None:
        await self.fill()
        backup = os.path.abspath(self.mktemp())
        back_up(self.root, backup)
        shutil.rmtree(self.root)
        restore(backup, self.root)
        self.assertEqual(list(check(self.root, True)), [])
        backend = await self.open()
        self.assertEqual(await self.listed(backend, "alice"), ["a", "j", "large"])
        self.assertEqual(await self.flags(backend, "alice", "default", "a"), [Flags.PENDING])
        large = await self.content(backend, "alice", "default", "large")
        self.assertEqual(large, sealed("large", 300_000))
        await backend.delete(BlobName("alice", "default", "large"))
