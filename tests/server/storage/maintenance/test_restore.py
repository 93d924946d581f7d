"""Backups that are put in place, and the clients that then come."""

from __future__ import annotations

import errno
import os
import random
import shutil

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from blobman import SyncStatus
from blobman.errors import StoreError
from blobman.server.running.administration import restored
from blobman.server.storage.backend import Backend
from blobman.server.storage.interface import DamagedError
from blobman.server.storage.maintenance.backup import back_up
from blobman.server.storage.maintenance.repair import repair
from blobman.server.storage.maintenance.restore import restore
from blobman.testing.contracts.support import name, query, sealed

from ....support import ServerTestCase, content, doc
from ...owners import work_as_root
from .folders import FolderCase, change_file, put


class RestoreTests(FolderCase):
    async def setUp(self) -> None:  # type: ignore[override]
        super().setUp()
        self.blobs = await self.fill(5, 2)
        back_up(self.data, self.backup)
        self.restored = self.path("restored")

    async def test_a_folder_that_is_not_empty(self) -> None:
        before = sorted(os.listdir(self.data))
        self.assertRaises(FileExistsError, restore, self.backup, self.data)
        self.assertEqual(sorted(os.listdir(self.data)), before)
        for inside in (self.backup, os.path.join(self.backup, "alice")):
            self.assertRaises((StoreError, FileExistsError), restore, self.backup, inside)
        self.assertEqual(self.found(self.backup), [])

    async def test_a_folder_that_is_empty(self) -> None:
        os.mkdir(self.restored)
        restore(self.backup, self.restored)
        self.assertEqual(await self.served(self.restored), self.blobs)

    async def test_what_is_no_backup(self) -> None:
        for path in (self.folder, self.data, self.path("missing")):
            self.assertRaises(StoreError, restore, path, self.restored)
        self.assertFalse(os.path.lexists(self.restored))

    async def test_damage_is_found_before_anything_is_written(self) -> None:
        chance = random.Random(1)
        paths = [
            os.path.join(self.backup, ".blobman", "catalogue.sqlite"),
            os.path.join(self.backup, ".blobman", "backup.json"),
            *self.payload_paths(self.backup),
        ]
        whole = self.path("whole")
        os.rename(self.backup, whole)
        for path in paths:
            for damage in ("remove", "cut", "change"):
                shutil.copytree(whole, self.backup)
                size = os.path.getsize(path)
                if damage == "remove":
                    os.unlink(path)
                elif damage == "cut":
                    os.truncate(path, chance.randrange(size))
                else:
                    change_file(path, 0 if path.endswith(".json") else size - 1)
                self.assertRaises(StoreError, restore, self.backup, self.restored)
                self.assertFalse(os.path.lexists(self.restored))
                shutil.rmtree(self.backup)

    async def test_a_disk_that_is_full(self) -> None:
        def refuse(source: str, target: str) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        self.patch(os, "link", refuse)
        os.mkdir(self.restored)
        error = self.assertRaises(StoreError, restore, self.backup, self.restored)
        self.assertIn("the disk is full", str(error))
        self.assertEqual(os.listdir(self.restored), [])

    async def test_a_folder_in_which_a_restore_was_killed_is_not_served(self) -> None:
        restore(self.backup, self.restored)
        # The catalogue comes last.
        os.unlink(os.path.join(self.restored, ".blobman", "catalogue.sqlite"))
        opening = Deferred.fromCoroutine(self.open(self.restored))
        error = await self.assertFailure(opening, DamagedError)
        self.assertIn("the catalogue is gone", str(error))

    async def test_what_root_does_leaves_the_folder_to_its_owner(self) -> None:
        os.mkdir(self.restored)
        work_as_root(self, self.restored)
        status = os.stat(self.restored)
        restore(self.backup, self.restored)
        # Payloads are the same files as the backup's, and stay its owner's.
        payloads = set(self.payload_paths(self.restored))
        os.truncate(os.path.join(self.restored, ".blobman", "last-number"), 0)
        change_file(os.path.join(self.restored, ".blobman", "catalogue.sqlite"), 5 * 8192)
        repair(self.restored, False)
        owners = {
            (os.lstat(path).st_uid, os.lstat(path).st_gid)
            for top, _, files in os.walk(self.restored)
            for path in (top, *(os.path.join(top, file) for file in files))
            if path not in payloads
        }
        self.assertEqual(owners, {(status.st_uid, status.st_gid)})


class HistoryTests(FolderCase):
    async def deleted(self, data: str = "") -> tuple[list[str], int]:
        async def ask(backend: Backend) -> tuple[list[str], int]:
            pages = backend.list("alice", query(deleted=True))
            ids = [it async for page in pages for it in page]
            return ids, await backend.count("alice", query(deleted=True))

        return await self.with_server(ask, data)

    async def fill_and_delete(self) -> None:
        await self.fill(3, 0)
        backend = await self.open()
        await backend.delete(name("small-0"))
        await backend.delete(name("small-1"))
        await put(backend, name("small-1"), sealed("again"))
        await backend.close()

    async def test_a_restored_folder(self) -> None:
        await self.fill_and_delete()
        before = self.generations()
        back_up(self.data, self.backup)
        restore(self.backup, self.path("restored"))
        generations = self.generations(self.path("restored"))
        self.assertEqual([it.first for it in generations], [7])
        self.assertNotIn(generations[0].name, [it.name for it in before])
        # An id that was used again is known to have been deleted; others are forgotten.
        self.assertEqual(await self.deleted(self.path("restored")), (["small-1"], 1))
        self.assertEqual(self.found(self.path("restored")), [])

    async def test_a_copy_that_was_put_back(self) -> None:
        await self.fill_and_delete()
        before = self.generations()
        restored(self.data)
        after = self.generations()
        restored(self.data)
        names = {it.name for it in [*before, *after, *self.generations()]}
        self.assertEqual(len(names), len(before) + 2)
        self.assertEqual(await self.deleted(), (["small-1"], 1))
        self.assertEqual(self.found(), [])

    async def test_an_older_catalogue_that_was_put_back(self) -> None:
        await self.fill(3, 0)
        shutil.copytree(self.data, self.path("older"))
        backend = await self.open()
        await put(backend, name("later"), sealed())
        await backend.close()
        older = os.path.join(self.path("older"), ".blobman")
        shutil.copy(os.path.join(self.data, ".blobman", "last-number"), older)
        shutil.rmtree(self.data)
        os.rename(self.path("older"), self.data)
        self.assertIn("changes are missing", self.found()[0])
        restored(self.data)
        self.assertEqual(self.found(), [])
        self.assertEqual(len(await self.served()), 3)

    async def test_not_while_a_server_runs(self) -> None:
        self.assertRaises(StoreError, restored, self.data)
        await self.fill(1, 0)
        backend = await self.open()
        self.assertRaises(StoreError, restored, self.data)
        await backend.close()
        back_up(self.data, self.backup)
        self.assertRaises(StoreError, restored, self.backup)
        self.assertEqual(self.found(self.backup), [])


class ClientTests(ServerTestCase):
    """A client has more than the server that it comes back to."""

    async def go_back(self) -> None:
        """Put the server's folder back to what it was when a backup was made."""
        await self.stop_server()
        shutil.rmtree(self.data)
        restore(os.path.join(self.folder, "backup"), self.data)
        await self.start_server()

    async def test_nothing_newer_is_lost(self) -> None:
        manager = self.manager()
        small, large = content(2000, "small"), content(400_000, "large")
        await manager.put(doc(small, "before"), len(small))
        await manager.put(doc(small, "deleted-before"), len(small))
        await manager.delete("deleted-before")
        await manager.put(doc(small, "deleted-after"), len(small))
        await deferToThread(back_up, self.data, os.path.join(self.folder, "backup"))
        await manager.put(doc(small, "after-small"), len(small))
        await manager.put(doc(large, "after-large"), len(large))
        # Its tombstone is in the backup.
        await manager.put(doc(large, "deleted-before"), len(large))
        await manager.delete("deleted-after")
        await self.go_back()
        await manager.refresh_sync_status_from_server()
        sent_again = await manager.local_list_status(SyncStatus.PENDING_UPLOAD)
        self.assertEqual(sorted(sent_again), ["after-large", "after-small", "deleted-before"])
        await manager.sync()
        expected = {
            "before": small,
            "after-small": small,
            "after-large": large,
            "deleted-before": large,
            "deleted-after": small,
        }
        self.assertEqual(await manager.sync_progress, {"SYNCED": len(expected)})
        other = self.manager("phone")
        await other.sync()
        for it in (manager, other):
            self.assertEqual(sorted(await it.local_list()), sorted(expected))
            for blob_id, data in expected.items():
                self.assertEqual((await it.get(blob_id)).read(), data)
