"""
Of all who create one blob at the same time, whichever server they ask, exactly one does.

``BLOBMAN_TEST_CREATES`` says how often they try.
"""

from __future__ import annotations

import os

from twisted.internet.defer import Deferred, gatherResults

from blobman.errors import BlobAlreadyExistsError
from blobman.server.storage.interface import SMALL, BlobName

from ..blobs import sealed
from ..postgres import make_database
from .case import SERVERS, ScaleCase

ROUNDS = int(os.environ.get("BLOBMAN_TEST_CREATES", "3"))
CLIENTS = 100


class CreateTests(ScaleCase):
    timeout = 300 + 30 * ROUNDS

    async def setUp(self) -> None:  # type: ignore[override]
        await self.start_all(make_database(self))
        for hands in self.hands:
            hands.pool.maxPersistentPerHost = CLIENTS

    async def create(self, blob: BlobName, size: int, client: int) -> bool:
        """Put a blob that no other client has; give whether it has been created."""
        try:
            await self.hands[client % SERVERS].put(blob, sealed(str(client), size), ())
        except BlobAlreadyExistsError:
            return False
        return True

    async def one_wins(self, blob_id: str, size: int) -> None:
        blob = BlobName("alice", "default", blob_id)
        works = [self.create(blob, size, client) for client in range(CLIENTS)]
        created = await gatherResults([Deferred.fromCoroutine(it) for it in works])
        winners = [client for client, has_won in enumerate(created) if has_won]
        self.assertEqual(len(winners), 1, blob_id)
        content = sealed(str(winners[0]), size)
        for hands in self.hands:
            self.assertEqual(await hands.ask("GET", "alice", f"blobs/alice/{blob_id}"), content)

    async def test_small(self) -> None:
        for number in range(ROUNDS):
            await self.one_wins(f"small{number}", 10_000)

    async def test_large(self) -> None:
        for number in range(ROUNDS):
            await self.one_wins(f"large{number}", SMALL + 30_000)

    async def test_after_a_deletion(self) -> None:
        """The id is free again, at both servers."""
        for number in range(ROUNDS):
            await self.one_wins(f"again{number}", 10_000)
            await self.hands[0].delete(BlobName("alice", "default", f"again{number}"))
            await self.one_wins(f"again{number}", SMALL + 1)
