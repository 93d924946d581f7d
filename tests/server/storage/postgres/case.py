"""A catalogue in a database of its own."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from blobman.server.storage.catalogue.interface import ICatalogue
from blobman.server.storage.catalogue.postgres.catalogue import PostgresCatalogue
from blobman.server.storage.catalogue.postgres.sessions import read_url

from ...postgres import make_database


class PostgresCase(TestCase):
    """
    Mixed into contracts.

    :ivar url: the database's.
    :ivar clock: says when the catalogue looks for what other processes have changed.
    """

    catalogue: ICatalogue

    async def setUp(self) -> None:  # type: ignore[override]
        self.url = make_database(self)
        self.clock = Clock()
        self.catalogue = await self.open_catalogue()

    async def open_catalogue(self, clock: Any = None) -> PostgresCatalogue:
        """Open the catalogue, as another process would."""
        catalogue = PostgresCatalogue(read_url(self.url), reactor, clock or self.clock)
        await catalogue.open()
        self.addCleanup(catalogue.close)
        return catalogue
