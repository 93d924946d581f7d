"""
A server that is killed with SIGKILL, whatever it is doing, loses nothing that it has acknowledged.

``BLOBMAN_TEST_KILLS`` says how often it is killed.
"""

from __future__ import annotations

import os
import random

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from blobman.server.accounts.tokens import TokenFile

from ..processes import ServerProcess
from .hands import HTTPHands, Streams
from .truth import USERS, Truth, Workers, opened

KILLS = int(os.environ.get("BLOBMAN_TEST_KILLS", "6"))
SEED = os.environ.get("BLOBMAN_TEST_SEED", "1")

LONGEST = 0.05
"""Seconds between the answer that is a server's last one and its end."""


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
        self.streams = Streams(self.truth, self.chance)

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
        works = [
            self.workers.work(self.hands, 10_000),
            *(self.streams.work(self.hands, it, 10_000) for it in USERS),
        ]
        await gatherResults([Deferred.fromCoroutine(it) for it in works])
        await server.ended
        await self.hands.pool.closeCachedConnections()
