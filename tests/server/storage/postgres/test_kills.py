"""
A database that is killed or stopped, whatever it is doing, loses nothing that was acknowledged.

``BLOBMAN_TEST_KILLS`` says how often that happens.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList, gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from blobman.server.storage.backend import Backend
from blobman.server.storage.catalogue.postgres import sessions
from blobman.server.storage.catalogue.postgres.catalogue import PostgresCatalogue
from blobman.server.storage.catalogue.postgres.sessions import read_url
from blobman.server.storage.interface import UnavailableError
from blobman.server.storage.payloads.folder import FolderPayloads

from ...postgres import make_cluster
from ..truth import CountingHands, Workers, is_back
from .truth import PostgresTruth

KILLS = int(os.environ.get("BLOBMAN_TEST_KILLS", "4"))
SEED = os.environ.get("BLOBMAN_TEST_SEED", "1")
PROCESSES = 2


class FolderTruth(PostgresTruth):
    """The payloads are in a folder."""

    def _check_files(self, root: str) -> None:
        super()._check_files(root)
        named = self.named()
        rows = named | self.ask("key FROM blobman.garbage")
        folder = os.path.join(root, ".blobman", "payloads")
        files = {file for _, _, them in os.walk(folder) for file in them}
        assert named <= files <= rows, f"{named - files} are missing, {files - rows} too much"


class KillTests(TestCase):
    timeout = 900 + 15 * KILLS

    async def setUp(self) -> None:  # type: ignore[override]
        self.chance = random.Random(SEED)
        self.cluster = make_cluster(self)
        self.root = os.path.abspath(self.mktemp())
        self.truth = FolderTruth(self.cluster)
        self.workers = Workers(self.truth, self.chance)
        self.checked = await self.open_backend()
        # These are not to wait long for a database that is stopped.
        self.patch(sessions, "LIMIT", 2.0)
        self.backends = [await self.open_backend() for _ in range(PROCESSES)]

    async def open_backend(self) -> Backend:
        catalogue = PostgresCatalogue(read_url(self.cluster.url()))
        backend = Backend(catalogue, FolderPayloads(self.root, is_apart=True), None)
        await backend.open()
        self.addCleanup(backend.close)
        return backend

    async def work_until(self, disturb: Callable[[], None]) -> None:
        """Do random things through all processes, and then this, amid them."""
        hands = [
            CountingHands(it, self.chance, self.chance.randrange(5, 60)) for it in self.backends
        ]
        works = [Deferred.fromCoroutine(self.workers.work(it, 10_000)) for it in hands]
        done = gatherResults(works)
        # A process may still refuse all, for a moment after the last time.
        either: list[Deferred[Any]] = [*(it.heard for it in hands), done]
        await DeferredList(either, fireOnOneCallback=True)
        await deferToThread(disturb)
        # Not all that disturbs makes anything fail: connections are made again.
        self.workers.stop()
        for errors in await done:
            for error in errors:
                self.assertIsInstance(error, UnavailableError)

    async def check(self) -> None:
        """Wait until the database does nothing any more, and hold it against the truth."""
        await deferToThread(self.cluster.start)
        busy = "SELECT FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid()"
        while self.cluster.run(busy):
            await deferLater(reactor, 0.05)
        for backend in (self.checked, *self.backends):
            while not await is_back(backend):
                await deferLater(reactor, 0.05)
        # Their leases run out.
        self.cluster.run("UPDATE blobman.uploads SET lease = 0")
        await self.truth.check(self.checked, self.root)

    async def test_killed(self) -> None:
        for _ in range(KILLS):
            await self.work_until(self.cluster.kill)
            await self.check()

    async def test_stopped_for_a_while(self) -> None:
        """Whoever waits is told that it is not available, and not left waiting."""
        for _ in range(KILLS):
            await self.work_until(lambda: self.cluster.signal(signal.SIGSTOP))
            self.cluster.signal(signal.SIGCONT)
            await self.check()

    async def test_connections_that_are_cut(self) -> None:
        def cut() -> None:
            self.cluster.run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )

        for _ in range(KILLS):
            await self.work_until(cut)
            await self.check()
