"""A server, with its large blobs in an object store."""

from __future__ import annotations

import os

from twisted.internet import reactor

from blobman.server.running.configuration import make_service

from ..server.objectstore import environment, object_store, url_of
from .harness import ServerCase


class BucketTests(ServerCase):
    """Its catalogue is in a folder."""

    async def serve_at(self, listen: str) -> int:
        store = object_store()
        environment(self, **store.credentials())
        url = url_of(store.private_bucket())
        self.service = make_service(
            self.path("data"), self.tokens.path, [listen], reactor, payloads=url
        )
        self.service.startService()
        self.addCleanup(self.service.stopService)
        [port] = await self.service.when_listening()
        return int(port.getHost().port)  # type: ignore[attr-defined]

    async def test_blobs_of_any_size(self) -> None:
        for size in (0, 1, 200_000, 3_000_000):
            content = os.urandom(size)
            blob_id = await self.put(content)
            self.another_machine()
            outcome = await self.run_command("get", blob_id, "-o", self.path(f"got-{size}"))
            self.assertEqual(outcome.code, 0, outcome)
            with open(self.path(f"got-{size}"), "rb") as file:
                self.assertEqual(file.read(), content)
            self.let(store=self.path("store"))
