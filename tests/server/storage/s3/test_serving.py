"""What a server answers whose object store goes away, and comes back; and what it counts."""

from __future__ import annotations

import os
from typing import Any

import treq
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from twisted.web.client import HTTPConnectionPool
from twisted.web.http_headers import Headers

from blobman.protocol import write_authorization
from blobman.server.accounts.tokens import TokenFile
from blobman.server.running.configuration import make_service

from ...blobs import sealed
from ...objectstore import environment, object_store, url_of

SMALL, LARGE = sealed("small"), sealed("large", 3_000_000)


class ServingTests(TestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        self.store = object_store()
        environment(self, **self.store.credentials())
        tokens = TokenFile(self.mktemp())
        self.authorization = write_authorization("alice", tokens.add("alice"))
        listen = "tcp:0:interface=127.0.0.1"
        self.service = make_service(
            os.path.abspath(self.mktemp()),
            tokens.path,
            [listen],
            grace=0,
            metrics=[listen],
            payloads=url_of(self.store.bucket()),
        )
        self.service.startService()
        self.addCleanup(self.service.stopService)
        ports: list[Any] = await self.service.when_listening()
        self.port, self.metrics = (it.getHost().port for it in ports)
        self.pool = HTTPConnectionPool(reactor)
        self.addCleanup(self.pool.closeCachedConnections)

    async def ask(self, method: str, path: str, data: bytes | None = None, port: int = 0) -> Any:
        response = await treq.request(
            method,
            f"http://127.0.0.1:{port or self.port}/{path}",
            data=data,
            headers=Headers({"Authorization": [self.authorization]}),
            pool=self.pool,
        )
        return response.code, await treq.content(response)

    async def expect(self, code: int, method: str, path: str, data: bytes | None = None) -> bytes:
        found, body = await self.ask(method, path, data)
        self.assertEqual(found, code, (method, path, body))
        return bytes(body)

    async def test_killed_and_started_again(self) -> None:
        await self.expect(200, "PUT", "blobs/alice/small", SMALL)
        await self.expect(200, "PUT", "blobs/alice/large", LARGE)
        await self.expect(200, "PUT", "blobs/alice/gone", LARGE)
        await deferToThread(self.store.kill)
        self.addCleanup(self.store.start)
        health = await self.expect(503, "GET", "health")
        self.assertEqual(health, b"no blobs can be written: payloads\n")
        requests: list[Any] = [
            (503, "GET", "blobs/alice/large"),
            (503, "PUT", "blobs/alice/new", LARGE),
            (200, "GET", "blobs/alice/small"),
            (200, "PUT", "blobs/alice/other", SMALL),
            (200, "DELETE", "blobs/alice/gone"),
        ]
        await gatherResults([Deferred.fromCoroutine(self.expect(*it)) for it in requests])
        await deferToThread(self.store.start)
        self.assertEqual(await self.expect(200, "GET", "blobs/alice/large"), LARGE)
        await self.expect(200, "PUT", "blobs/alice/new", LARGE)
        self.assertEqual(await self.expect(200, "GET", "blobs/alice/new"), LARGE)

    async def test_what_is_counted(self) -> None:
        await self.expect(200, "PUT", "blobs/alice/large", LARGE)
        await self.expect(200, "GET", "blobs/alice/large")
        _, text = await self.ask("GET", "metrics", port=self.metrics)
        figures = dict(
            line.rsplit(" ", 1) for line in text.decode().splitlines() if not line.startswith("#")
        )
        requests = 'blobman_store_requests_total{code="%s",operation="%s"}'
        self.assertEqual(figures[requests % (200, "put")], "2.0")
        self.assertEqual(figures[requests % (404, "head")], "1.0")
        self.assertEqual(figures[requests % (206, "get")], "1.0")
        self.assertEqual(figures['blobman_store_seconds_count{operation="head"}'], "2.0")
        self.assertGreaterEqual(float(figures["blobman_store_sent_bytes_total"]), len(LARGE))
        self.assertGreaterEqual(float(figures["blobman_store_received_bytes_total"]), len(LARGE))
        self.assertIn("blobman_store_repeated_requests_total", figures)
