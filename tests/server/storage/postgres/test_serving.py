"""What a server answers whose database goes away, and comes back."""

from __future__ import annotations

from typing import Any

from treq.client import HTTPClient
from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent, HTTPConnectionPool

from blobman.server.running.configuration import make_service
from blobman.server.storage.backend import Backend
from blobman.server.storage.catalogue.postgres.catalogue import PostgresCatalogue
from blobman.server.storage.catalogue.postgres.sessions import read_url
from blobman.server.storage.interface import UnavailableError
from blobman.server.storage.payloads.folder import FolderPayloads
from blobman.testing.contracts.support import name

from ...blobs import sealed
from ...postgres import make_cluster, make_database, shared_cluster
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


class MetricsTests(TestCase):
    async def test_what_is_counted(self) -> None:
        """How long the database takes, what it does not do, and how many connections there are."""
        database, folder = make_database(self), self.mktemp()
        anywhere = ["tcp:0:interface=127.0.0.1"]
        service = make_service(folder, None, anywhere, metrics=anywhere, catalogue=database)
        service.startService()
        self.addCleanup(service.stopService)
        ports = await service.when_listening()
        before = await self.figures(ports[1])
        await service.backend.store([(name(it), sealed(it)) for it in "ab"])
        await service.backend.get_flags(name("a"))
        shared_cluster().run("DROP SCHEMA blobman CASCADE", database.split("/")[3].split("?")[0])
        await self.assertFailure(service.backend.get_flags(name("a")), UnavailableError)
        after = await self.figures(ports[1])
        for figure, more in (
            ('blobman_catalogue_seconds_count{operation="ask"}', 2),
            ('blobman_catalogue_failures_total{operation="ask"}', 1),
            ('blobman_catalogue_failures_total{operation="change"}', 0),
        ):
            self.assertEqual(after[figure] - before.get(figure, 0), more, figure)
        self.assertGreater(after['blobman_catalogue_seconds_count{operation="change"}'], 0)
        self.assertEqual(after['blobman_catalogue_connections{state="busy"}'], 0)
        self.assertGreater(after['blobman_catalogue_connections{state="idle"}'], 0)

    async def figures(self, port: Any) -> dict[str, float]:
        pool = HTTPConnectionPool(reactor, persistent=False)
        client = HTTPClient(Agent(reactor, pool=pool))
        response = await client.get(f"http://127.0.0.1:{port.getHost().port}/metrics")
        lines = (await response.text()).splitlines()
        pairs = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
        return {figure: float(value) for figure, value in pairs}
