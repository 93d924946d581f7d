"""Data folders whose files were adopted where they were."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from blobman.server.storage.backend import Backend
from blobman.server.storage.catalogue.visiting import visiting
from blobman.server.storage.interface import BlobName
from blobman.server.storage.maintenance.backup import back_up
from blobman.server.storage.maintenance.findings import Kind
from blobman.server.storage.maintenance.repair import repair
from blobman.server.storage.maintenance.restore import restore
from blobman.sqlite import ask

from .folders import Blobs, FolderCase, change_file, read

VECTORS = Path(__file__).parents[3] / "vectors"


class AdoptedTests(FolderCase):
    vector = "soledad-server-dir"

    async def setUp(self) -> None:  # type: ignore[override]
        super().setUp()
        shutil.copytree(VECTORS / self.vector / "data", self.data)
        self.blobs = await self.all()
        self.assertGreater(len(self.blobs), 2)

    def names(self, data: str) -> list[BlobName]:
        statement = "SELECT user, namespace, id FROM blobs JOIN places USING (place)"
        with visiting(os.path.join(data, ".blobman")) as connection:
            return [BlobName(*row) for row in ask(connection, statement)]

    async def all(self, data: str = "") -> Blobs:
        async def work(backend: Backend) -> Blobs:
            return {it: await read(backend, it) for it in self.names(data or self.data)}

        return await self.with_server(work, data)

    def files(self, data: str = "") -> list[str]:
        """Give the paths of the files that were adopted."""
        top = Path(data or self.data)
        with visiting(os.path.join(top, ".blobman")) as connection:
            keys = [key for (key,) in ask(connection, "SELECT key FROM blobs WHERE key LIKE '%/%'")]
        return sorted(str(top / key) for key in keys)

    async def test_a_backup(self) -> None:
        self.assertEqual(self.found(), [])
        back_up(self.data, self.backup)
        self.assertEqual(self.found(self.backup), [])
        shutil.rmtree(self.data)
        restore(self.backup, self.data)
        self.assertEqual(self.found(), [])
        self.assertEqual(await self.all(), self.blobs)
        # Only what the catalogue has is in it, and no flags files.
        expected = {os.path.relpath(path, self.data) for path in self.files()}
        there = {
            os.path.relpath(os.path.join(top, file), self.data)
            for top, _, files in os.walk(self.data)
            for file in files
            if ".blobman" not in top
        }
        self.assertEqual(there, expected)

    async def test_what_was_deleted_is_removed_from_a_restored_folder(self) -> None:
        back_up(self.data, self.backup)
        restore(self.backup, self.path("restored"))
        (path, *_) = self.files(self.path("restored"))
        name = next(it for it in self.blobs if it.blob_id == os.path.basename(path))

        async def delete(backend: Backend) -> None:
            await backend.delete(name)

        await self.with_server(delete, self.path("restored"))
        with visiting(os.path.join(self.path("restored"), ".blobman")) as connection:
            connection.execute("UPDATE garbage SET due = 0")

        async def clean(backend: Backend) -> None:
            await backend.janitor.clean()

        await self.with_server(clean, self.path("restored"))
        self.assertFalse(os.path.exists(path))
        self.assertTrue(os.path.exists(path.replace("restored", "data")))
        self.assertTrue(os.path.exists(path.replace("restored", "backup")))

    async def test_damage(self) -> None:
        whole = self.path("whole")
        os.rename(self.data, whole)
        for damage in (
            os.unlink,
            lambda path: os.truncate(path, 100),
            lambda path: change_file(path, os.path.getsize(path) - 1),
        ):
            shutil.copytree(whole, self.data)
            path = self.files()[0]
            damage(path)
            (found,) = self.found(deep=False)
            self.assertTrue(found.startswith(os.path.relpath(path, self.data)), found)
            repaired = repair(self.data, False)
            (finding,) = repaired.findings
            self.assertIs(finding.kind, Kind.PAYLOAD)
            self.assertFalse(os.path.exists(path))
            rest = {it: content for it, content in self.blobs.items() if it != finding.name}
            self.assertEqual(self.found(), [])
            self.assertEqual(await self.all(), rest)
            shutil.rmtree(self.data)


class FormerTests(AdoptedTests):
    vector = "blobman-server-dir"
