"""The contracts, on SQLite with a folder, and in memory."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from blobman.server.storage.backend import Backend
from blobman.server.storage.catalogue.sqlite import SQLiteCatalogue
from blobman.server.storage.payloads.folder import FolderPayloads
from blobman.server.storage.payloads.memory import MemoryPayloads
from blobman.testing.contracts import (
    BackendContract,
    CatalogueContract,
    PayloadsContract,
    StartsContract,
)


class SQLiteCatalogueTests(CatalogueContract, StartsContract, TestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        self.catalogue = SQLiteCatalogue(self.mktemp())
        await self.catalogue.open()
        self.addCleanup(lambda: self.catalogue.close())


class MemoryCatalogueTests(CatalogueContract, TestCase):
    outlives_its_process = False

    async def setUp(self) -> None:  # type: ignore[override]
        self.catalogue = SQLiteCatalogue()
        await self.catalogue.open()
        self.addCleanup(lambda: self.catalogue.close())


class FolderPayloadsTests(PayloadsContract, TestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        self.payloads = FolderPayloads(self.mktemp())
        await self.payloads.open()
        self.addCleanup(lambda: self.payloads.close())


class MemoryPayloadsTests(PayloadsContract, TestCase):
    def setUp(self) -> None:
        self.payloads = MemoryPayloads()


class BackendTests(BackendContract, TestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        root = self.mktemp()
        self.backend = Backend(SQLiteCatalogue(root), FolderPayloads(root), reactor)
        await self.backend.open()
        self.addCleanup(lambda: self.backend.close())


class MemoryBackendTests(BackendContract, TestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        self.backend = Backend(SQLiteCatalogue(), MemoryPayloads(), None)
        await self.backend.open()
        self.addCleanup(lambda: self.backend.close())
