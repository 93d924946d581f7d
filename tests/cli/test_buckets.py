"""A server, with its large blobs in an object store."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

from twisted.internet import reactor

from blobman.server.running.configuration import make_service
from blobman.server.storage.backend import Backend
from blobman.server.storage.catalogue.interface import PayloadRow

from ..server.objectstore import environment, object_store, url_of
from .harness import ServerCase


class BucketTests(ServerCase):
    """Its catalogue is in a folder."""

    async def serve_at(self, listen: str) -> int:
        store = object_store()
        environment(self, **store.credentials())
        self.bucket = url_of(store.private_bucket())
        self.service = make_service(
            self.path("data"), self.tokens.path, [listen], reactor, payloads=self.bucket
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

    async def test_sweep(self) -> None:
        blob_id = await self.put(os.urandom(200_000))
        backend = self.service.backend
        assert isinstance(backend, Backend)
        await self.service.stopService()
        settings = "--list", "--data", self.path("data"), "--payloads", self.bucket
        outcome = await self.run_command("server", "sweep", *settings, "--deep")
        self.assertEqual((outcome.code, outcome.lines), (0, []), outcome)
        await backend.open()
        (stored,) = [row async for row in rows_of(backend)]
        await backend.payloads.remove([stored.key])
        await backend.close()
        outcome = await self.run_command("server", "sweep", *settings, "--remove")
        self.assertEqual(outcome.code, 1, outcome)
        self.assertEqual(
            outcome.lines, [f"{stored.key} (blob '{blob_id}' of alice): it is missing"]
        )

    async def test_nothing_can_be_compared(self) -> None:
        await self.service.stopService()
        for options, code, words in (
            ((), 2, "give --list"),
            (("--list", "--payloads", self.bucket), 2, "--catalogue is needed"),
            (("--list", "--data", self.path("data")), 2, "use blobman server check"),
            (("--list", "--data", self.path("data"), "--payloads", self.path("empty")), 2, "mark"),
        ):
            outcome = await self.run_command("server", "sweep", *options)
            self.assertEqual(outcome.code, code, outcome)
            self.assertIn(words, outcome.err)


async def rows_of(backend: Backend) -> AsyncIterator[PayloadRow]:
    """List what has a payload."""
    for row in await backend.catalogue.payload_rows():
        yield row
