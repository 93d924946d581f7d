"""
What takes a real process: kill -9 in the middle of uploads, hundreds of slow clients, a blob that
is larger than the memory it may take.

``BLOBMAN_LONG=1`` makes them longer.
"""

from __future__ import annotations

import os
import resource
from typing import Any

import treq
from treq.client import HTTPClient
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.interfaces import IConsumer
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from blobman.protocol import write_authorization
from blobman.server.accounts.tokens import TokenFile
from blobman.server.running.administration import read_usage
from blobman.server.storage.backends import folder_backend

from ..blobs import Consumer, name, query, sealed
from ..processes import ServerProcess
from ..talk import Talk
from ..tampering import leftovers

LONG = bool(os.environ.get("BLOBMAN_LONG"))


@implementer(IBodyProducer)
class Zeros:
    """A body of so many zeros, made as it goes."""

    def __init__(self, length: int) -> None:
        self.length = length
        self._left = length
        self._done: Deferred[None] = Deferred()
        self._is_paused = False

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        self._consumer = consumer
        self.resumeProducing()
        return self._done

    def resumeProducing(self) -> None:
        self._is_paused = False
        while self._left and not self._is_paused:
            piece = bytes(min(self._left, 256 * 1024))
            self._left -= len(piece)
            self._consumer.write(piece)
        if not self._left and not self._done.called:
            self._done.callback(None)

    def pauseProducing(self) -> None:
        self._is_paused = True

    def stopProducing(self) -> None:
        self._left = 0


class ProcessCase(TestCase):
    """Tests of a server in a process of its own."""

    timeout = 3000 if LONG else 900

    async def setUp(self) -> None:  # type: ignore[override]
        self.root = self.mktemp()
        tokens = TokenFile(self.root + ".tokens")
        self.authorization = write_authorization("alice", tokens.add("alice"))
        self.slow = write_authorization("bob", tokens.add("bob"))
        self.tokens = tokens.path
        self.pool = HTTPConnectionPool(reactor)
        self.pool.maxPersistentPerHost = 100
        self.pool.retryAutomatically = False
        self.client = HTTPClient(Agent(reactor, pool=self.pool))
        self.addCleanup(lambda: self.pool.closeCachedConnections())

    async def start(self, **options: Any) -> ServerProcess:
        """Start it, with more arguments of ``make_service``."""
        self.server = ServerProcess()
        self.addCleanup(self.server.kill)
        self.port = await self.server.start(self.root, self.tokens, **options)
        return self.server

    async def ask(self, method: str, path: str, data: Any = None) -> tuple[int, int]:
        """Give the status of an answer, and the number of bytes in it."""
        response = await self.client.request(
            method,
            f"http://127.0.0.1:{self.port}/{path}",
            headers=Headers({"Authorization": [self.authorization]}),
            data=data,
            unbuffered=True,
        )
        sizes: list[int] = []
        await treq.collect(response, lambda piece: sizes.append(len(piece)))
        return response.code, sum(sizes)


class ProcessTests(ProcessCase):
    async def test_killed_during_uploads(self) -> None:
        for run in range(10 if LONG else 2):
            await self.killed_during_uploads(f"run{run}", after=20 + 13 * run)

    async def killed_during_uploads(self, run: str, after: int) -> None:
        sizes = {f"{run}-{number}": 800 + number * 1500 for number in range(200)}
        server = await self.start()
        answered: set[str] = set()

        async def upload(blob_id: str) -> None:
            try:
                content = sealed(blob_id, sizes[blob_id])
                code, _ = await self.ask("PUT", f"blobs/alice/{blob_id}", content)
            except Exception:
                return
            if code == 200:
                answered.add(blob_id)
                if len(answered) == after:
                    await server.kill()

        waiting = iter(sizes)

        async def work() -> None:
            for blob_id in waiting:
                if not server.ended.called:
                    await upload(blob_id)

        await gatherResults([Deferred.fromCoroutine(work()) for _ in range(8)])
        await server.ended
        await self.check_after_kill(run, answered, sizes)

    async def check_after_kill(self, run: str, answered: set[str], sizes: dict[str, int]) -> None:
        backend = folder_backend(self.root)
        await backend.open()
        try:
            listed = [it async for page in backend.list("alice", query()) for it in page]
            of_this_run = {it for it in listed if it.startswith(run + "-")}
            self.assertLessEqual(answered, of_this_run)
            self.assertGreaterEqual(len(answered), 20)
            total = 0
            for blob_id in listed:
                stored = await backend.read(name(blob_id))
                consumer = Consumer()
                await stored.write_to(consumer)
                content = consumer.content
                stored.close()
                total += len(content)
                if blob_id in of_this_run:
                    self.assertEqual(content, sealed(blob_id, sizes[blob_id]))
            self.assertEqual([it.size for it in read_usage(self.root)], [total])
            await backend.janitor.clean()
            self.assertEqual(leftovers(self.root), [])
        finally:
            await backend.close()

    async def test_slow_clients_do_not_hold_up_others(self) -> None:
        slow, served = (400, 100) if LONG else (160, 40)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        await self.start()
        head = f"Host: x\r\nAuthorization: {self.slow}\r\n"
        beginnings = (
            "",
            "GET /blobs/al",
            f"GET /blobs/bob/ HTTP/1.1\r\n{head}",
            f"PUT /blobs/bob/slow HTTP/1.1\r\n{head}Content-Length: 100000\r\n\r\nabc",
        )
        talks = [Talk() for _ in range(slow)]
        for number, talk in enumerate(talks):
            endpoint = HostnameEndpoint(reactor, "127.0.0.1", self.port)
            await connectProtocol(endpoint, talk)
            self.addCleanup(talk.abort)
            talk.send(beginnings[number % len(beginnings)].encode())

        async def work(number: int) -> tuple[int, ...]:
            path = f"blobs/alice/b{number}"
            put = await self.ask("PUT", path, sealed(path, 10_000))
            get = await self.ask("GET", path)
            return (*put, *get)

        answers = await gatherResults(
            [Deferred.fromCoroutine(work(number)) for number in range(served)]
        )
        self.assertEqual(answers, [(200, 0, 200, 10_000)] * served)

    async def test_memory_does_not_grow_with_a_blob(self) -> None:
        size = 1_000_000_000 if LONG else 150_000_000
        server = await self.start()
        before = server.peak_memory()
        self.assertEqual((await self.ask("PUT", "blobs/alice/a", Zeros(size)))[0], 200)
        self.assertEqual(await self.ask("GET", "blobs/alice/a"), (200, size))
        peak = server.peak_memory()
        if LONG:
            print(f"peak memory {peak / 2**20:.0f} MiB, before {before / 2**20:.0f} MiB")
        self.assertLess(peak, 100 * 2**20)
