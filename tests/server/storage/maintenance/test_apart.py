"""A catalogue whose payloads are in another store: they are not taken for lost."""

from __future__ import annotations

import os
from contextlib import closing

from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from blobman.server.storage.backend import Backend
from blobman.server.storage.catalogue.connection import connect_copy
from blobman.server.storage.catalogue.salvage import rebuild
from blobman.server.storage.catalogue.sqlite import SQLiteCatalogue
from blobman.server.storage.catalogue.visiting import visiting
from blobman.server.storage.maintenance.backup import back_up
from blobman.server.storage.maintenance.check import check
from blobman.server.storage.maintenance.repair import repair
from blobman.server.storage.maintenance.restore import restore
from blobman.server.storage.payloads.folder import FolderPayloads
from blobman.testing.contracts.support import name, sealed

from .folders import LARGE, FolderCase, put, read

SMALL, PAYLOAD = sealed("small"), sealed("large", LARGE)


class ApartTests(FolderCase):
    async def open_apart(self, data: str) -> Backend:
        backend = Backend(
            SQLiteCatalogue(os.path.join(data, ".blobman")),
            FolderPayloads(self.path("payloads"), is_apart=True),
            reactor,
        )
        await backend.open()
        return backend

    async def fill_apart(self) -> None:
        backend = await self.open_apart(self.data)
        await put(backend, name("small"), SMALL)
        await put(backend, name("large"), PAYLOAD)
        await backend.close()

    async def both_of(self, data: str) -> tuple[bytes, bytes]:
        backend = await self.open_apart(data)
        try:
            return await read(backend, name("small")), await read(backend, name("large"))
        finally:
            await backend.close()

    async def test_nothing_is_damaged(self) -> None:
        await self.fill_apart()
        for deep in (False, True):
            self.assertEqual([*check(self.data, deep)], [])
            self.assertEqual(repair(self.data, deep).findings, [])
        self.assertEqual(await self.both_of(self.data), (SMALL, PAYLOAD))

    async def test_a_backup_is_one_of_the_catalogue(self) -> None:
        await self.fill_apart()
        backup = await deferToThread(back_up, self.data, self.backup)
        self.assertEqual((backup.manifest.blobs, backup.linked, backup.copied), (2, 0, 0))
        self.assertEqual([*check(self.backup, True)], [])
        restore(self.backup, self.path("restored"))
        self.assertEqual(await self.both_of(self.path("restored")), (SMALL, PAYLOAD))

    async def test_one_that_is_made_anew(self) -> None:
        """It still knows where its payloads are."""
        await self.fill_apart()
        own = os.path.join(self.data, ".blobman")
        with visiting(own) as connection:
            rebuild(connection, self.path("made"), 1)
            mark = [*connection.execute("SELECT * FROM store")]
        with closing(connect_copy(self.path("made"))) as made:
            self.assertEqual([*made.execute("SELECT * FROM store")], mark)
            self.assertEqual(len(mark), 1)
