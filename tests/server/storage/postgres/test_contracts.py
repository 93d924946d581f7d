"""The contracts, on PostgreSQL."""

from __future__ import annotations

from twisted.internet import reactor

from blobman.server.storage.backend import Backend
from blobman.server.storage.payloads.folder import FolderPayloads
from blobman.testing.contracts import BackendContract, CatalogueContract, SharedContract

from .case import PostgresCase


class PostgresCatalogueTests(CatalogueContract, PostgresCase):
    pass


class TwoProcessesTests(SharedContract, PostgresCase):
    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        # Notifications are sent after a moment, which a fake clock would not reach by itself.
        self.other = await self.open_catalogue(reactor)
        await self.catalogue.close()
        self.catalogue = await self.open_catalogue(reactor)


class PostgresBackendTests(BackendContract, PostgresCase):
    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        await self.catalogue.close()
        self.backend = Backend(self.catalogue, FolderPayloads(self.mktemp()), reactor)
        await self.backend.open()
        self.addCleanup(lambda: self.backend.close())
