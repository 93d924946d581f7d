"""What the tests of adoption have in common."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from blobman.model import Flags
from blobman.protocol import ListQuery
from blobman.server.storage.backend import Backend
from blobman.server.storage.catalogue.sqlite import SQLiteCatalogue
from blobman.server.storage.catalogue.visiting import asking
from blobman.server.storage.interface import BlobName
from blobman.server.storage.payloads.folder import FolderPayloads
from blobman.server.storage.soledad.adoption import Adoption
from blobman.server.storage.soledad.files import Odd
from blobman.server.storage.soledad.taking import Report
from blobman.testing.contracts.support import Consumer

from .older import DATE, SECOND, OlderFolder


class Heard:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.oddities: list[Odd] = []
        self.reports: list[int] = []

    def progress(self, report: Report) -> None:
        self.reports.append(report.blobs)

    def ended(self, report: Report) -> None:
        self.reports.append(report.blobs)

    def odd(self, odd: Odd) -> None:
        self.oddities.append(odd)


class AdoptionCase(TestCase):
    """Has a folder, and opens backends on it."""

    def setUp(self) -> None:
        self.older = OlderFolder(os.path.abspath(self.mktemp()))
        self.root = str(self.older.path)
        self.heard = Heard()
        self.now = DATE + 1000 * SECOND

    def backend(self) -> Backend:
        """Make one, which is closed at the end."""
        self.adoption = Adoption(self.root, self.heard)
        own = os.path.join(self.root, ".blobman")
        catalogue = SQLiteCatalogue(own, reactor, lambda: self.now, self.adoption)
        backend = Backend(catalogue, FolderPayloads(self.root, reactor), None)
        self.addCleanup(backend.close)
        return backend

    def generations(self) -> list[int]:
        """Give the first number of each generation."""
        with asking(os.path.join(self.root, ".blobman")) as questions:
            return [it.first for it in questions.generations()]

    async def open(self) -> Backend:
        backend = self.backend()
        await backend.open()
        return backend

    async def listed(self, backend: Backend, user: str, **fields: Any) -> list[str]:
        query = ListQuery(**{"namespace": "default", **fields})
        found = [it async for page in backend.list(user, query) for it in page]
        self.assertEqual(await backend.count(user, query), len(found))
        return found

    async def content(self, backend: Backend, *name: str) -> bytes:
        stored = await backend.read(BlobName(*name))
        try:
            consumer = Consumer()
            await stored.write_to(consumer)
            self.assertEqual(stored.tag, consumer.content[-16:])
            self.assertEqual(stored.size, len(consumer.content))
            return consumer.content
        finally:
            stored.close()

    async def flags(self, backend: Backend, *name: str) -> list[Flags]:
        return await backend.get_flags(BlobName(*name))

    def told(self) -> list[str]:
        """The paths of what was said to be odd."""
        return sorted(path for path, _ in self.heard.oddities)
