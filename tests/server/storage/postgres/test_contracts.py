"""The contracts, on PostgreSQL."""

from __future__ import annotations

from twisted.internet import reactor

from blobman.server.storage.backend import Backend
from blobman.server.storage.payloads.folder import FolderPayloads
from blobman.testing.contracts import BackendContract, CatalogueContract

from .case import PostgresCase


class PostgresCatalogueTests(CatalogueContract, PostgresCase):
    pass


class PostgresBackendTests(BackendContract, PostgresCase):
    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        await self.catalogue.close()
        self.backend = Backend(self.catalogue, FolderPayloads(self.mktemp()), reactor)
        await self.backend.open()
        self.addCleanup(lambda: self.backend.close())
