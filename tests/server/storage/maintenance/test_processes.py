"""Backups by the command, of a server in a process of its own, amid what its clients do."""

from __future__ import annotations

import os
import shutil
import sys

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase

from blobman import BlobManager, Flags
from blobman.server.accounts.tokens import TokenFile

from ....support import KEY, SECRET, USER, content, doc
from ...processes import ServerProcess

SIZES = (100, 10_000, 200_000, 1_000_000)


class ProcessTests(TestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        self.folder = os.path.abspath(self.mktemp())
        os.mkdir(self.folder)
        self.token = TokenFile(self.path("tokens")).add(USER)
        self.is_over = False
        self.acknowledged: dict[str, bytes] = {}
        self.deleting: set[str] = set()
        self.waiting: Deferred[None] = Deferred()

    def path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    async def start(self) -> ServerProcess:
        server = ServerProcess()
        self.addCleanup(server.kill)
        port = await server.start(self.path("data"), self.path("tokens"))
        self.url = f"http://127.0.0.1:{port}/blobs/"
        return server

    def manager(self, name: str) -> BlobManager:
        manager = BlobManager(self.path(name), self.url, KEY, SECRET, USER, self.token)
        self.addCleanup(manager.close)
        return manager

    async def command(self, *arguments: str) -> tuple[int, str]:
        """Run ``blobman server``, and give its code and what it says."""
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = ["-m", "blobman", "server", *arguments]
        out, err, code = await getProcessOutputAndValue(sys.executable, command, environment)
        return code, (out + err).decode()

    async def work(self, manager: BlobManager, lane: str) -> None:
        number = 0
        while not self.is_over:
            number += 1
            blob_id = f"{lane}-{number}"
            data = content(SIZES[number % len(SIZES)], blob_id)
            await manager.put(doc(data, blob_id), len(data))
            self.acknowledged[blob_id] = data
            await manager.set_flags(blob_id, [Flags.PROCESSING])
            if number % 4 == 0:
                victim = f"{lane}-{number - 3}"
                self.deleting.add(victim)
                await manager.delete(victim)
            if len(self.acknowledged) >= 20 and not self.waiting.called:
                self.waiting.callback(None)

    async def test_amid_what_clients_do(self) -> None:
        server = await self.start()
        lanes = [self.manager(name) for name in "ab"]
        working = [
            Deferred.fromCoroutine(self.work(it, lane))
            for it, lane in zip(lanes, "ab", strict=True)
        ]
        await self.waiting
        before = {it: data for it, data in self.acknowledged.items() if it not in self.deleting}
        code, said = await self.command("backup", self.path("backup"), "--data", self.path("data"))
        self.assertEqual(code, 0, said)
        code, said = await self.command("check", "--deep", "--data", self.path("data"))
        self.assertEqual((code, said), (0, "nothing is damaged\n"))
        self.is_over = True
        await gatherResults(working)
        await gatherResults([it.close() for it in lanes])
        # The server and its folder are lost.
        await server.kill()
        code, said = await self.command("check", "--deep", "--data", self.path("data"))
        self.assertEqual((code, said), (0, "nothing is damaged\n"))
        shutil.rmtree(self.path("data"))
        code, said = await self.command("restore", self.path("backup"), "--data", self.path("data"))
        self.assertEqual(code, 0, said)
        await self.start()
        # Who has nothing gets what was there before the backup.
        phone = self.manager("phone")
        await phone.sync()
        there = set(await phone.local_list())
        self.assertEqual({*before} - self.deleting - there, set())
        for blob_id in there:
            self.assertEqual((await phone.get(blob_id)).read(), self.acknowledged[blob_id])
        # Who has more brings it back.
        lanes = [self.manager(name) for name in "ab"]
        for manager in [*lanes, *lanes, phone]:
            await manager.sync()
        for manager in (*lanes, phone):
            here = set(await manager.local_list())
            self.assertEqual({*self.acknowledged} - self.deleting - here, set())
            for blob_id in here:
                self.assertEqual((await manager.get(blob_id)).read(), self.acknowledged[blob_id])
