"""What a server answers whose database goes away, and comes back."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from blobman.server.storage.backend import Backend
from blobman.server.storage.catalogue.postgres.catalogue import PostgresCatalogue
from blobman.server.storage.catalogue.postgres.sessions import read_url
from blobman.server.storage.payloads.folder import FolderPayloads

from ...blobs import sealed
from ...postgres import make_cluster
from ...serving import ServerMixin


class AwayTests(ServerMixin, TestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        self.cluster = make_cluster(self)
        await self.start_server()

    def make_backend(self) -> Backend:
        catalogue = PostgresCatalogue(read_url(self.cluster.url()))
        return Backend(catalogue, FolderPayloads(self.root, is_apart=True), None)

    async def refuse(self, method: str, path: str, *body: bytes) -> None:
        answer = await self.expect(503, method, path, *body)
        self.assertEqual(answer.header("Retry-After"), "5")
        self.assertEqual(answer.body, b"the server can't do that at the moment\n")

    async def test_killed_and_started_again(self) -> None:
        small, large = sealed("small"), sealed("large", 300_000)
        await self.expect(200, "PUT", "blobs/alice/small", small)
        await self.expect(200, "PUT", "blobs/alice/large", large)
        await deferToThread(self.cluster.kill)
        for method, path, *body in (
            ("GET", "blobs/alice/"),
            ("GET", "blobs/alice/small"),
            ("GET", "blobs/alice/large"),
            ("GET", "blobs/alice/small?only_flags=True"),
            ("DELETE", "blobs/alice/small"),
            ("POST", "blobs/alice/small", b"[]"),
            ("PUT", "blobs/alice/new", sealed()),
            ("PUT", "blobs/alice/large-new", large),
        ):
            await self.refuse(method, path, *body)
        answer = await self.expect(503, "GET", "health")
        self.assertEqual(answer.body, b"no blobs can be written: catalogue\n")
        await deferToThread(self.cluster.start)
        while (await self.ask("GET", "health")).code != 200:
            await deferLater(reactor, 0.05)
        self.assertEqual((await self.expect(200, "GET", "blobs/alice/")).json(), ["large", "small"])
        self.assertEqual((await self.expect(200, "GET", "blobs/alice/small")).body, small)
        self.assertEqual((await self.expect(200, "GET", "blobs/alice/large")).body, large)
        await self.expect(200, "PUT", "blobs/alice/new", sealed())

    async def test_started_again_while_nothing_was_asked(self) -> None:
        """Nobody notices: old connections are not used."""
        await gatherResults(
            [self.expect(200, "PUT", f"blobs/alice/a{it}", sealed()) for it in range(8)]
        )
        await deferToThread(self.cluster.kill)
        await deferToThread(self.cluster.start)
        await self.expect(200, "PUT", "blobs/alice/b", sealed())
        await self.expect(200, "DELETE", "blobs/alice/a0")
        answer = await self.expect(200, "GET", "blobs/alice/")
        self.assertEqual(answer.json(), [*(f"a{it}" for it in range(1, 8)), "b"])
