"""Clients that are killed with SIGKILL lose nothing that was acknowledged."""

from __future__ import annotations

import os
import random
import sys

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IProcessTransport
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from blobman import SyncStatus

from .killed_client import data_of
from .support import ServerTestCase

KILLS = int(os.environ.get("BLOBMAN_TEST_KILLS", "6"))
"""How many kills; set it to 200 or more for a long run by hand."""

LONGEST = 0.15
"""Seconds from the line at which a client is marked for its end to the kill."""


class Victim(ProcessProtocol):
    """A client's life: what it said, and when it ends."""

    transport: IProcessTransport

    def __init__(self, after_lines: int, delay: float) -> None:
        self.lines: list[str] = []
        self.errors = b""
        self.ended: Deferred[None] = Deferred()
        self._after_lines = after_lines
        self._delay = delay
        self._rest = b""
        self._marked = False

    def outReceived(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        self.lines += [line.decode() for line in lines]
        if len(self.lines) >= self._after_lines and not self._marked:
            self._marked = True
            reactor.callLater(self._delay, self.kill)

    def errReceived(self, data: bytes) -> None:
        self.errors += data

    def kill(self) -> None:
        try:
            self.transport.signalProcess("KILL")
        except ProcessExitedAlready:
            pass

    def processEnded(self, reason: Failure) -> None:
        self.ended.callback(None)


class KillTests(ServerTestCase):
    timeout = 900 + 10 * KILLS

    async def test_killed_at_random(self) -> None:
        chance = random.Random(os.environ.get("BLOBMAN_TEST_SEED", "1"))
        stored: dict[str, set[str]] = {"laptop": set(), "phone": set()}
        deleted: set[str] = set()
        uncertain: set[str] = set()
        for number in range(0, KILLS, 2):
            lives = {name: self.start(name, number, chance) for name in stored}
            await gatherResults([life.ended for life in lives.values()])
            for name, life in lives.items():
                self.assertEqual(life.errors, b"", f"{name} failed: {life.errors.decode()}")
                self.record(life.lines, stored[name], deleted, uncertain)
            for name, blob_ids in stored.items():
                await self.check(name, blob_ids - deleted - uncertain)
        await self.settle(stored, deleted, uncertain)

    def start(self, name: str, number: int, chance: random.Random) -> Victim:
        victim = Victim(chance.randrange(1, 40), chance.uniform(0, LONGEST))
        folder = os.path.join(self.folder, name)
        arguments = [folder, self.url, self.token, name, str(number)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        reactor.spawnProcess(
            victim,
            sys.executable,
            [sys.executable, "-m", "tests.killed_client", *arguments],
            env=environment,
            path=os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
        )
        return victim

    def record(
        self, lines: list[str], stored: set[str], deleted: set[str], uncertain: set[str]
    ) -> None:
        for line in lines:
            word, _, blob_id = line.partition(" ")
            if word == "put":
                stored.add(blob_id)
            elif word == "deleting":
                uncertain.add(blob_id)
            elif word == "deleted":
                uncertain.discard(blob_id)
                deleted.add(blob_id)

    async def check(self, name: str, expected: set[str]) -> None:
        """The store opens, and all that was put and not deleted is there and right."""
        manager = self.manager(name)
        here = set(await manager.local_list())
        self.assertEqual(expected - here, set(), f"{name} lost blobs")
        for blob_id in here:
            self.assertEqual((await manager.get(blob_id)).read(), data_of(blob_id))
        await manager.close()

    async def settle(
        self, stored: dict[str, set[str]], deleted: set[str], uncertain: set[str]
    ) -> None:
        managers = {name: self.manager(name) for name in stored}
        for name in (*stored, *stored):
            await managers[name].sync()
        there = set(await managers["laptop"].remote_list())
        put = stored["laptop"] | stored["phone"]
        only = {blob_id for blob_id in put if blob_id.startswith("only")}
        self.assertEqual(put - only - deleted - uncertain - there, set(), "the server lacks blobs")
        self.assertEqual(there & deleted, set())
        self.assertEqual({i for i in there if i.startswith("only")}, set())
        for manager in managers.values():
            here = {i for i in await manager.local_list() if not i.startswith("only")}
            self.assertEqual(here, there)
            for status in SyncStatus:
                if status not in (SyncStatus.SYNCED, SyncStatus.LOCAL_ONLY):
                    self.assertEqual(await manager.local_list_status(status), [])
            for blob_id in here:
                self.assertEqual((await manager.get(blob_id)).read(), data_of(blob_id))
