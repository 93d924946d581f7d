"""The contracts, on an object store."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from blobman.server.storage.backend import Backend
from blobman.server.storage.catalogue.sqlite import SQLiteCatalogue
from blobman.testing.contracts import BackendContract, PayloadsContract

from ...objectstore import object_store, payloads
from ..postgres.case import PostgresCase


class S3PayloadsTests(PayloadsContract, TestCase):
    keeps_what_is_open = False

    async def setUp(self) -> None:  # type: ignore[override]
        store = object_store()
        self.payloads = payloads(store.bucket())
        await self.payloads.open()
        self.addCleanup(lambda: self.payloads.close())


class PrivateS3PayloadsTests(PayloadsContract, TestCase):
    """Over TLS, what is sent is another thing than without."""

    keeps_what_is_open = False

    async def setUp(self) -> None:  # type: ignore[override]
        store = object_store()
        self.payloads = payloads(store.private_bucket())
        await self.payloads.open()
        self.addCleanup(lambda: self.payloads.close())


class S3BackendTests(BackendContract, TestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        store = object_store()
        objects = payloads(store.bucket())
        self.backend = Backend(SQLiteCatalogue(self.mktemp()), objects, reactor)
        await self.backend.open()
        self.addCleanup(lambda: self.backend.close())


class PostgresBackendTests(BackendContract, PostgresCase):
    """With the catalogue in PostgreSQL."""

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        await self.catalogue.close()
        objects = payloads(object_store().bucket())
        self.backend = Backend(self.catalogue, objects, reactor)
        await self.backend.open()
        self.addCleanup(lambda: self.backend.close())
