"""
The power fails: what was never synced is lost, or any part of it. What was acknowledged is not.

``BLOBMAN_TEST_CUTS`` says how often it fails.
"""

from __future__ import annotations

import os
import random

from twisted.trial.unittest import TestCase

from blobman.errors import StoreError

from ..blobs import name, sealed
from .truth import BackendHands, Truth, Workers, opened, read
from .volatile import VolatileDisk

CUTS = int(os.environ.get("BLOBMAN_TEST_CUTS", "15"))
SEED = os.environ.get("BLOBMAN_TEST_SEED", "1")


class PowerCutTests(TestCase):
    timeout = 900 + 10 * CUTS

    def setUp(self) -> None:
        self.chance = random.Random(SEED)
        self.mount()

    def mount(self) -> None:
        """Have a new disk, that is empty."""
        mounted = os.path.abspath(self.mktemp())
        os.mkdir(mounted)
        self.root = os.path.join(mounted, "data")
        self.disk = VolatileDisk(mounted, self.chance)
        self.disk.install(self)
        self.truth = Truth()
        self.workers = Workers(self.truth, self.chance)

    async def work_until_the_power_fails(self, operations: int) -> None:
        self.disk.fail_after(operations)
        try:
            async with opened(self.root) as backend:
                hands = BackendHands(backend, self.chance)
                while not self.disk.is_dead:
                    errors = await self.workers.work(hands, 20)
                    self.assertTrue(self.disk.is_dead or not errors, errors)
        except (StoreError, OSError):
            self.assertTrue(self.disk.is_dead)

    async def test_what_was_acknowledged_is_there(self) -> None:
        for number in range(CUTS):
            # Now and then it fails while the server starts.
            operations = self.chance.choice((40, 400, 4000))
            await self.work_until_the_power_fails(self.chance.randrange(1, operations))
            if number % 3 == 2:
                self.disk.revive()
            else:
                self.disk.restore_power(loses_all=number % 3 == 0)
            async with opened(self.root) as backend:
                await self.truth.check(backend, self.root)

    async def test_after_a_crash_during_the_first_start(self) -> None:
        """What whoever was killed has made is there; it need not be durable."""
        for operations in range(1, 12):
            self.mount()
            await self.work_until_the_power_fails(operations)
            self.disk.revive()
            async with opened(self.root) as backend:
                await backend.store([(name("a"), sealed("a"))])
            self.disk.restore_power(loses_all=True)
            async with opened(self.root) as backend:
                self.assertEqual(await read(backend, name("a")), sealed("a"), operations)
