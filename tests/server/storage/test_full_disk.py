"""
A disk that is full, at one moment or another: a simulated one, and a real one if root runs this.

What is refused is refused with ``UnavailableError`` (503), and leaves nothing; deletions and reads
work all the time; and when there is room again, all goes on without a restart.
"""

from __future__ import annotations

import os
import random
import subprocess
from unittest import SkipTest

from twisted.trial.unittest import TestCase

from blobman.server.storage.backend import Backend
from blobman.server.storage.interface import UnavailableError

from ..blobs import name, query, sealed
from .truth import EXPECTED, BackendHands, State, Truth, Workers, listed, opened, read
from .volatile import VolatileDisk

LEVELS = 30
"""How full the disk is in how many ways."""

STEP = 40_000
"""Bytes between two of them."""


class FullDiskTests(TestCase):
    filled = 0

    def setUp(self) -> None:
        self.mounted = os.path.abspath(self.mktemp())
        os.mkdir(self.mounted)
        self.root = os.path.join(self.mounted, "data")
        self.chance = random.Random(1)
        self.disk = VolatileDisk(self.mounted, self.chance)
        self.truth = Truth()
        self.workers = Workers(self.truth, self.chance)

    async def put(self, backend: Backend, blob_id: str, size: int) -> Exception | None:
        hands = BackendHands(backend, self.chance)
        state = State(blob_id, size)
        content = sealed(blob_id, size)
        return await self.truth.change(
            name(blob_id), lambda _: state, True, lambda: hands.put(name(blob_id), content, ())
        )

    async def delete(self, backend: Backend, blob_id: str) -> Exception | None:
        state = State(was_deleted=True)
        return await self.truth.change(
            name(blob_id), lambda _: state, False, lambda: backend.delete(name(blob_id))
        )

    async def fill(self, backend: Backend) -> None:
        """Put blobs, large and small, until the disk refuses them."""
        for number in range(1000):
            self.filled += 1
            size = (800, 20_000, 300_000)[number % 3]
            error = await self.put(backend, f"fill{self.filled}", size)
            if error is not None:
                self.assertIsInstance(error, UnavailableError)
                return
        self.fail("the disk is never full")

    async def delete_all(self, backend: Backend) -> None:
        """Delete all, one after another."""
        for blob_id in await listed(backend, "alice", query()):
            self.assertIsNone(await self.delete(backend, blob_id), blob_id)

    async def test_levels(self) -> None:
        self.disk.install(self)
        async with opened(self.root) as backend:
            for number in range(10):
                for size in (800, 200_000):
                    await self.put(backend, f"first{size}n{number}", size)
            for level in range(LEVELS):
                await self.at_level(backend, level)
                self.disk.capacity = None
                errors = await self.workers.work(BackendHands(backend, self.chance), 3)
                self.assertEqual(errors, [])
                await self.truth.check(backend, self.root)
            await backend.check_writing()

    async def at_level(self, backend: Backend, level: int) -> None:
        self.disk.capacity = self.disk.used() + level * STEP
        await self.fill(backend)
        hands = BackendHands(backend, self.chance)
        errors = await self.workers.work(hands, 5)
        for error in errors:
            self.assertIsInstance(error, (UnavailableError, *EXPECTED))
        there = await listed(backend, "alice", query())
        for blob_id in self.chance.sample(there, 3):
            self.assertIsNotNone(await read(backend, name(blob_id)))
            self.assertIsNone(await self.delete(backend, blob_id), f"level {level}")

    async def test_everything_can_be_deleted(self) -> None:
        self.disk.install(self)
        self.disk.capacity = 12_000_000
        async with opened(self.root) as backend:
            for number in range(200):
                if await self.put(backend, f"small{number}", 20_000) is not None:
                    break
            await self.fill(backend)
            await self.assertFailure(backend.check_writing(), UnavailableError)
            await self.delete_all(backend)
            await self.truth.check(backend, self.root)
        async with opened(self.root) as backend:
            self.assertIsNone(await self.put(backend, "again", 20_000))

    async def test_a_start(self) -> None:
        """A server that was killed starts on a full disk, reads, and deletes."""
        self.disk.install(self)
        async with opened(self.root) as backend:
            await self.put(backend, "a", 800)
            self.disk.capacity = self.disk.used() + 400_000
            await self.fill(backend)
            # As the power fails: it has no time to move its log.
            self.disk.fail_after(1)
        self.disk.restore_power()
        self.disk.capacity = self.disk.used()
        async with opened(self.root) as backend:
            self.assertEqual(await read(backend, name("a")), sealed("a"))
            await self.fill(backend)
            await self.delete_all(backend)
            self.disk.capacity = None
            await self.put(backend, "b", 300_000)
            await self.truth.check(backend, self.root)

    async def test_a_real_one(self) -> None:
        mounting = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", self.mounted]
        if os.geteuid() or subprocess.run(mounting, capture_output=True).returncode:
            raise SkipTest("nothing can be mounted")
        self.addCleanup(subprocess.run, ["umount", self.mounted], check=True)
        async with opened(self.root) as backend:
            await self.put(backend, "large", 3_000_000)
            await self.fill(backend)
        # It starts, too.
        async with opened(self.root) as backend:
            await self.fill(backend)
            await self.delete_all(backend)
            await self.truth.check(backend, self.root)
            self.assertIsNotNone(await self.put(backend, "again", 9_000_000))
            more = ["mount", "-o", "remount,size=24m", self.mounted]
            subprocess.run(more, check=True)
            self.assertIsNone(await self.put(backend, "again", 9_000_000))
            await self.truth.check(backend, self.root)
