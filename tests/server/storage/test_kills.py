"""
A server that is killed with SIGKILL, whatever it is doing, loses nothing that it has acknowledged.

``BLOBMAN_TEST_KILLS`` says how often it is killed.
"""

from __future__ import annotations

import os
import random

import treq
from treq.client import HTTPClient
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers

from blobman.errors import BlobAlreadyExistsError, BlobNotFoundError
from blobman.model import Flags
from blobman.protocol import read_results, write_authorization, write_flags, write_manifest
from blobman.server.accounts.tokens import TokenFile
from blobman.server.storage.interface import BlobName

from ..blobs import sealed
from ..processes import ServerProcess
from .truth import SIZES, USERS, State, Truth, Workers, opened

KILLS = int(os.environ.get("BLOBMAN_TEST_KILLS", "6"))
SEED = os.environ.get("BLOBMAN_TEST_SEED", "1")

LONGEST = 0.05
"""Seconds between the answer that is a server's last one and its end."""


class RefusedError(Exception):
    """An answer that says nothing about a blob."""


class HTTPHands:
    """
    Does things to blobs by HTTP.


    """

    sets_flags = False

    def __init__(self, tokens: dict[str, str]) -> None:
        self._tokens = tokens
        self.port = 0
        self.answers = 0
        self.pool = HTTPConnectionPool(reactor)
        self.pool.maxPersistentPerHost = 20
        # Each request is one change at most.
        self.pool.retryAutomatically = False
        self._client = HTTPClient(Agent(reactor, pool=self.pool))
        self.heard: Deferred[None] = Deferred()
        self.until = 0

    async def ask(self, method: str, user: str, path: str, data: bytes | None = None) -> bytes:
        """Send a request; give the body of an answer that is a success."""
        authorization = write_authorization(user, self._tokens[user])
        response = await self._client.request(
            method,
            f"http://127.0.0.1:{self.port}/{path}",
            headers=Headers({"Authorization": [authorization]}),
            data=data,
        )
        body = await treq.content(response)
        self.answers += 1
        if self.answers >= self.until and not self.heard.called:
            self.heard.callback(None)
        errors = {404: BlobNotFoundError, 409: BlobAlreadyExistsError}
        if response.code != 200:
            raise errors.get(response.code, RefusedError)(f"{response.code} {body!r}")
        return body

    async def _change(self, method: str, name: BlobName, data: bytes | None = None) -> None:
        path = f"blobs/{name.user}/{name.blob_id}?namespace={name.namespace}"
        await self.ask(method, name.user, path, data)

    async def put(self, name: BlobName, content: bytes, flags: tuple[Flags, ...]) -> None:
        """Put a blob."""
        await self._change("PUT", name, content)

    async def delete(self, name: BlobName) -> None:
        """Delete a blob."""
        await self._change("DELETE", name)

    async def set_flags(self, name: BlobName, flags: tuple[Flags, ...]) -> None:
        """Set a blob's flags."""
        await self._change("POST", name, write_flags(flags))

    async def stream(self, user: str, blobs: list[tuple[str, bytes]]) -> dict[str, str]:
        """Put some blobs in one request, and say what became of each."""
        body = write_manifest((blob_id, len(content)) for blob_id, content in blobs)
        body += b"".join(content for _, content in blobs)
        answer = await self.ask("POST", user, f"stream/{user}?direction=upload", body)
        return dict(read_results(answer))


class KillTests(TestCase):
    timeout = 900 + 10 * KILLS

    def setUp(self) -> None:
        self.chance = random.Random(SEED)
        self.root = os.path.abspath(self.mktemp())
        tokens = TokenFile(self.root + ".tokens")
        self.tokens = tokens.path
        self.hands = HTTPHands({user: tokens.add(user) for user in USERS})
        self.addCleanup(self.hands.pool.closeCachedConnections)
        self.truth = Truth()
        self.workers = Workers(self.truth, self.chance)
        self.streams = 0

    async def test_killed_at_random(self) -> None:
        for number in range(KILLS):
            if number % 5 == 4:
                await self.killed_as_it_starts()
            else:
                await self.killed_at_work(self.chance.randrange(1, 150))
            # Now and then the next one finds what the last one left.
            if number % 2 or number == KILLS - 1:
                async with opened(self.root) as backend:
                    await self.truth.check(backend, self.root)

    async def killed_as_it_starts(self) -> None:
        server = ServerProcess()
        self.addCleanup(server.kill)
        port = server.start(self.root, self.tokens).addErrback(lambda _: None)
        await deferLater(reactor, self.chance.uniform(0.2, 0.9))
        await server.kill()
        await port

    async def killed_at_work(self, answers: int) -> None:
        server = ServerProcess()
        self.addCleanup(server.kill)
        self.hands.port = await server.start(self.root, self.tokens)
        self.hands.heard, self.hands.until = Deferred(), self.hands.answers + answers
        self.hands.heard.addCallback(
            lambda _: reactor.callLater(self.chance.uniform(0, LONGEST), server.kill)
        )
        works = [self.workers.work(self.hands, 10_000), *(self.stream(it, 10_000) for it in USERS)]
        await gatherResults([Deferred.fromCoroutine(it) for it in works])
        await server.ended
        await self.hands.pool.closeCachedConnections()

    async def stream(self, user: str, times: int) -> None:
        """Put new blobs, some at a time, until that fails."""
        for _ in range(times):
            self.streams += 1
            names = [BlobName(user, "default", f"s{self.streams}n{it}") for it in range(4)]
            blobs = {it.blob_id: sealed(it.blob_id, self.chance.choice(SIZES)) for it in names}
            outcomes: dict[str, Deferred[None]] = {blob_id: Deferred() for blob_id in blobs}
            works = [self.in_stream(it, blobs[it.blob_id], outcomes[it.blob_id]) for it in names]
            changes = gatherResults([Deferred.fromCoroutine(it) for it in works])
            try:
                results = await self.hands.stream(user, list(blobs.items()))
            except Exception as error:
                results = dict.fromkeys(blobs, str(error))
            for blob_id, outcome in outcomes.items():
                if results[blob_id] == "created":
                    outcome.callback(None)
                else:
                    outcome.errback(RefusedError(results[blob_id]))
            if any(await changes):
                return

    async def in_stream(
        self, name: BlobName, content: bytes, outcome: Deferred[None]
    ) -> Exception | None:
        """Note what becomes of one blob of a stream."""
        state = State(name.blob_id, len(content))

        async def wait() -> None:
            await outcome

        return await self.truth.change(name, lambda _: state, True, wait)
