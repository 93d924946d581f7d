"""Files of payloads that no database knows: nothing is lost with them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from twisted.logger import capturedLogs

from blobman.local.strays import found_in, settle
from blobman.model import SyncStatus

from .child import run
from .contract import MIB, content
from .test_faults import DiskTestCase, put, read


class StrayTestCase(DiskTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.payloads = self.path.with_suffix(".payloads")
        self.found = found_in(self.payloads)

    def found_files(self) -> list[str]:
        return sorted(os.listdir(self.found)) if self.found.exists() else []


class OlderDatabaseTests(StrayTestCase):
    async def test_an_older_database_and_the_newer_one_again(self) -> None:
        """Payload files of a newer database are moved aside, and come back with it."""
        await self.fill()
        old = self.folder / "backup"
        shutil.copy(self.path, old)
        store = self.open()
        for number in range(3):
            await put(store, f"newer{number}", content(2 * MIB, str(number)))
        await store.close()
        newer = self.folder / "newer"
        shutil.copy(self.path, newer)

        shutil.copy(old, self.path)
        with capturedLogs() as events:
            await self.check_filled()
        (event,) = [it for it in events if "found" in it]
        self.assertEqual((event["count"], event["found"]), (3, str(self.found)))
        self.assertEqual(len(self.payload_files()), 1)
        self.assertEqual(len(self.found_files()), 3)
        await self.check_filled()

        store = self.open()
        found = [str(self.found / name) for name in self.found_files()]
        self.assertEqual(await store.list_found(), found)
        await store.close()

        shutil.copy(newer, self.path)
        store = self.open()
        self.assertEqual(await store.list_found(), [])
        for number in range(3):
            there = await read(store, f"newer{number}")
            self.assertTrue(there == content(2 * MIB, str(number)))
        self.assertEqual(self.found_files(), [])
        self.assertFalse(self.found.exists())

    async def test_killed_before_the_record(self) -> None:
        lines = """
            store._database.write = lambda *_, **__: os.kill(os.getpid(), 9)
            await put('a', 3_000_000)
        """
        run(self.folder, lines)
        (file,) = self.payload_files()
        store = self.open()
        self.assertEqual(await store.list(), [])
        self.assertEqual(self.payload_files(), [])
        self.assertEqual(self.found_files(), [file.name])

    async def test_what_is_no_payload_file_is_left_alone(self) -> None:
        await self.fill()
        (self.payloads / ".keep").write_bytes(b"")
        (self.payloads / "notes.txt").write_bytes(b"mine")
        (self.payloads / ("0" * 32 + ".part")).write_bytes(b"half")
        await self.check_filled()
        self.assertEqual(
            sorted(path.name for path in self.payload_files() if len(path.name) != 32),
            [".keep", "notes.txt"],
        )
        self.assertEqual(self.found_files(), [])

    async def test_a_folder_that_cant_be_made(self) -> None:
        """Then they stay where they are."""
        await self.fill()
        stray = self.payloads / ("ab" * 16)
        stray.write_bytes(b"who knows")
        self.found.write_bytes(b"a file is in the way")
        await self.check_filled()
        self.assertEqual(stray.read_bytes(), b"who knows")

    def test_a_name_that_is_taken(self) -> None:
        folder = Path(self.mktemp())
        found_in(folder).mkdir(parents=True)
        name = "cd" * 16
        (folder / name).write_bytes(b"here")
        (found_in(folder) / name).write_bytes(b"aside")
        settle(folder, {name})
        settle(folder, set())
        self.assertEqual((folder / name).read_bytes(), b"here")
        self.assertEqual((found_in(folder) / name).read_bytes(), b"aside")


class GoingTests(StrayTestCase):
    async def test_only_what_is_recorded_as_going_is_removed(self) -> None:
        store = self.open()
        await put(store, "a", content(2 * MIB))
        (file,) = self.payload_files()
        await store.update_sync_status("a", SyncStatus.SYNCED)
        shutil.copy(file, self.folder / "copy")
        await store.delete("a")
        self.assertEqual(self.payload_files(), [])
        # Once it has gone, that it was going is forgotten by the next write.
        await store.update_sync_status("b", SyncStatus.PENDING_DOWNLOAD)
        await store.close()
        shutil.copy(self.folder / "copy", file)
        store = self.open()
        self.assertEqual(await store.list(), [])
        self.assertEqual(self.found_files(), [file.name])

    async def test_killed_between_the_record_and_the_file(self) -> None:
        lines = """
            await put('a', 3_000_000, status=SyncStatus.LOCAL_ONLY)
            store._database.remove_files = lambda names: os.kill(os.getpid(), 9)
            await store.delete('a')
        """
        run(self.folder, lines)
        self.assertEqual(len(self.payload_files()), 1)
        store = self.open()
        self.assertEqual(await store.list(), [])
        self.assertEqual((self.payload_files(), self.found_files()), ([], []))

    async def test_a_file_that_cant_be_removed_is_tried_again(self) -> None:
        await self.fill()
        store = self.open()
        await store.update_sync_status("large", SyncStatus.SYNCED)
        (file,) = self.payload_files()
        file.unlink()
        (file / "in the way").mkdir(parents=True)
        self.assertTrue(await store.delete("large"))
        await store.close()
        shutil.rmtree(file)
        file.write_bytes(b"")
        self.assertEqual(await self.open().list(), ["small"])
        self.assertEqual((self.payload_files(), self.found_files()), ([], []))
