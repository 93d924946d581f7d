"""
Whatever is killed, or stands still for a while, of two servers, their database and their object
store: nothing is lost that was acknowledged, and nothing is left that nobody knows.

``BLOBMAN_TEST_KILLS`` says how often that happens.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList, gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from blobman.model import RemoteChange
from blobman.server.storage.backend import Backend
from blobman.server.storage.catalogue.postgres.catalogue import PostgresCatalogue
from blobman.server.storage.catalogue.postgres.sessions import read_url
from blobman.server.storage.maintenance.findings import Kind
from blobman.server.storage.maintenance.sweep import Sweep

from ..objectstore import object_store, payloads
from ..postgres import make_cluster
from ..storage.hands import Streams
from ..storage.postgres.truth import PostgresTruth
from ..storage.truth import NAMESPACES, USERS, Workers, is_back
from .case import SERVERS, ScaleCase
from .following import Follower, is_passing, outcome

KILLS = int(os.environ.get("BLOBMAN_TEST_KILLS", "6"))
SEED = os.environ.get("BLOBMAN_TEST_SEED", "1")

WHILE = 5.0
"""Seconds for which something stands still."""

FAR_AHEAD = 1e12
"""Seconds since the epoch at which nothing is young."""


class KillTests(ScaleCase):
    timeout = 300 + 60 * KILLS

    async def setUp(self) -> None:  # type: ignore[override]
        self.chance = random.Random(SEED)
        self.store = object_store()
        self.addCleanup(self.store.start)
        self.cluster = make_cluster(self)
        await self.start_all(self.cluster.url())
        self.truth = PostgresTruth(self.cluster)
        self.workers = Workers(self.truth, self.chance)
        self.streams = Streams(self.truth, self.chance)
        places = [(user, namespace) for user in USERS for namespace in NAMESPACES]
        self.followers = [Follower(self.hands, *place) for place in places]
        catalogue = PostgresCatalogue(read_url(self.cluster.url()))
        self.checked = Backend(catalogue, payloads(self.bucket), None)
        await self.checked.open()
        self.addCleanup(self.checked.close)

    async def test_whatever_goes_away(self) -> None:
        kinds = [
            self.kill_a_server,
            self.stop_a_server,
            self.kill_the_database,
            self.stop_the_database,
            self.kill_the_store,
            self.stop_the_store,
        ]
        for number in range(KILLS):
            await self.work_until(kinds[number % len(kinds)])
            await self.check()

    # -- what goes away --------------------------------------------------------------------

    async def kill_a_server(self) -> None:
        number = self.chance.randrange(SERVERS)
        await self.servers[number].kill()
        await self.hands[number].pool.closeCachedConnections()
        await self.start(number)

    async def stop_a_server(self) -> None:
        server = self.chance.choice(self.servers)
        await self.for_a_while(server.stop, server.go_on)

    async def kill_the_database(self) -> None:
        await deferToThread(self.cluster.kill)
        await deferToThread(self.cluster.start)

    async def stop_the_database(self) -> None:
        await self.for_a_while(
            lambda: self.cluster.signal(signal.SIGSTOP),
            lambda: self.cluster.signal(signal.SIGCONT),
        )

    async def kill_the_store(self) -> None:
        await deferToThread(self.store.kill)
        await deferToThread(self.store.start)

    async def stop_the_store(self) -> None:
        await self.for_a_while(self.store.stop, self.store.go_on)

    async def for_a_while(self, stop: Callable[[], None], go_on: Callable[[], None]) -> None:
        stop()
        try:
            await deferLater(reactor, WHILE)
        finally:
            go_on()

    # -- what is done meanwhile --------------------------------------------------------------

    async def work_until(self, disturb: Callable[[], Awaitable[None]]) -> None:
        """Do random things through both servers, and this amid them."""
        works = []
        for hands in self.hands:
            hands.heard, hands.until = Deferred(), hands.answers + self.chance.randrange(20, 150)
            works.append(self.workers.work(hands, 10_000))
            works += [self.streams.work(hands, user, 10_000) for user in USERS]
        following = gatherResults([Deferred.fromCoroutine(it.follow()) for it in self.followers])
        done = gatherResults([Deferred.fromCoroutine(it) for it in works])
        # What was away before may still make all fail.
        either: list[Deferred[Any]] = [*(it.heard for it in self.hands), done]
        await DeferredList(either, fireOnOneCallback=True)
        await disturb()
        self.workers.stop()
        self.streams.stop()
        for follower in self.followers:
            follower.stop()
        for errors in await done:
            for error in errors:
                self.assertTrue(is_passing(error), repr(error))
        await following

    # -- what must be true then --------------------------------------------------------------

    async def check(self) -> None:
        """Wait until all is quiet, and hold everything against the truth."""
        while not await self.is_well():
            await deferLater(reactor, 0.1)
        # Leases run out, and what is to be removed may be.
        self.cluster.run("UPDATE blobman.uploads SET lease = 0")
        await self.checked.janitor.clean()
        while self.truth.ask("key FROM blobman.garbage"):
            self.cluster.run("UPDATE blobman.garbage SET due = 0")
            await self.checked.janitor.clean()
        await self.truth.check(self.checked, "")
        await self.check_objects()
        for follower in self.followers:
            await self.check_follower(follower)

    async def is_well(self) -> bool:
        busy = "SELECT FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid()"
        if self.cluster.run(busy) or not await is_back(self.checked):
            return False
        for hands in self.hands:
            if await outcome(hands.ask("GET", USERS[0], "health")) is not None:
                return False
        return True

    async def check_objects(self) -> None:
        """See that, once what may have come late is swept, each row has an object, and no more."""
        sweep = Sweep(self.checked.catalogue, self.checked.payloads, lambda: FAR_AHEAD)
        findings = [it async for it in sweep.findings()]
        self.assertEqual([it.text for it in findings if it.kind != Kind.STRAY], [])
        await sweep.remove()
        objects = {it.key async for page in self.checked.payloads.listed() for it in page}
        self.assertEqual(objects, self.truth.named())

    async def check_follower(self, follower: Follower) -> None:
        """See that it has missed nothing."""
        while await follower.ask():
            pass
        catalogue, place = self.checked.catalogue, (follower.user, follower.namespace)
        there = [
            RemoteChange(it.blob_id, it.tag, it.size, it.date // 10**9, it.flags)
            for it in await catalogue.changes(*place, 0, 1_000_000)
            if it.size is not None
        ]
        known = [it for it in follower.known.values() if not it.is_deleted]
        self.assertEqual(sorted(known), sorted(there))
