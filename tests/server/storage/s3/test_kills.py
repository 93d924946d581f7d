"""
An object store that is killed or stopped, whatever it is doing, loses nothing that was
acknowledged, and keeps nothing that nobody knows.

``BLOBMAN_TEST_KILLS`` says how often that happens.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from blobman.server.storage.backend import Backend
from blobman.server.storage.catalogue.sqlite import SQLiteCatalogue
from blobman.server.storage.interface import UnavailableError
from blobman.server.storage.maintenance.sweep import Sweep

from ...objectstore import object_store, payloads
from ..truth import CountingHands, Truth, Workers, is_back

KILLS = int(os.environ.get("BLOBMAN_TEST_KILLS", "3"))
SEED = os.environ.get("BLOBMAN_TEST_SEED", "1")

PATIENCE = 3.0
"""Seconds after which a store that stands still is given up."""

FAR_AHEAD = 1e12
"""Seconds since the epoch at which nothing is young."""


class KillTests(TestCase):
    timeout = 120 + 30 * KILLS

    async def setUp(self) -> None:  # type: ignore[override]
        self.chance = random.Random(SEED)
        self.store = object_store()
        self.addCleanup(self.store.start)
        self.root = os.path.abspath(self.mktemp())
        self.truth = Truth()
        self.workers = Workers(self.truth, self.chance)
        self.backend = Backend(
            SQLiteCatalogue(os.path.join(self.root, ".blobman")),
            payloads(self.store.bucket(), patience=PATIENCE),
            None,
        )
        await self.backend.open()
        self.addCleanup(self.backend.close)

    async def work_until(self, disturb: Callable[[], object]) -> None:
        """Do random things, and then this, amid them."""
        hands = CountingHands(self.backend, self.chance, self.chance.randrange(5, 60))
        working = Deferred.fromCoroutine(self.workers.work(hands, 10_000))
        await hands.heard
        await deferToThread(disturb)
        for error in await working:
            self.assertIsInstance(error, UnavailableError)

    async def check(self) -> None:
        """Wait until the store works, and hold both against the truth."""
        while not await is_back(self.backend):
            await deferLater(reactor, 0.1)
        await self.truth.check(self.backend, self.root)
        sweep = Sweep(self.backend.catalogue, self.backend.payloads, lambda: FAR_AHEAD)
        self.assertEqual([it.text async for it in sweep.findings()], [])

    async def test_killed(self) -> None:
        for _ in range(KILLS):
            await self.work_until(self.store.kill)
            await deferToThread(self.store.start)
            await self.check()

    async def test_stopped_for_a_while(self) -> None:
        """Whoever waits is told that it is not available, and not left waiting."""
        for _ in range(KILLS):
            await self.work_until(self.store.stop)
            self.store.go_on()
            await self.check()
