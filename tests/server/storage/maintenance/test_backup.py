"""Backups of folders that are in use, and of damaged ones."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import blockingCallFromThread, deferToThread

from blobman.errors import StoreError
from blobman.model import Flags
from blobman.server.storage.backend import Backend
from blobman.server.storage.catalogue.sqlite import SQLiteCatalogue
from blobman.server.storage.interface import BlobName, DamagedError
from blobman.server.storage.maintenance.backup import INCOMPLETE, back_up
from blobman.server.storage.maintenance.payloads import Carrier, Payload
from blobman.server.storage.maintenance.restore import restore
from blobman.server.storage.payloads.folder import FolderPayloads
from blobman.testing.contracts.support import name, sealed

from .folders import LARGE, FolderCase, put

_KILLED = """
import os, signal, sys
from blobman.server.storage.maintenance import backup

class Carrier(backup.Carrier):
    def bring(self, payload):
        os.kill(os.getpid(), signal.SIGKILL)

backup.Carrier = Carrier
backup.back_up(sys.argv[1], sys.argv[2])
"""


class BackupTests(FolderCase):
    async def test_all_is_in_it(self) -> None:
        blobs = await self.fill()
        made = back_up(self.data, self.backup)
        self.assertEqual((made.linked, made.copied), (4, 0))
        self.assertEqual((made.manifest.blobs, made.manifest.payloads), (24, 4))
        self.assertEqual(made.manifest.size, sum(map(len, blobs.values())))
        self.assertEqual(self.found(self.backup), [])
        restore(self.backup, self.path("restored"))
        self.assertEqual(await self.served(self.path("restored")), blobs)
        self.assertEqual(await self.served(), blobs)

    async def test_links_that_can_not_be_made_are_copies(self) -> None:
        blobs = await self.fill()

        def refuse(source: str, target: str) -> None:
            raise OSError(errno.EXDEV, "another file system")

        self.patch(os, "link", refuse)
        made = back_up(self.data, self.backup)
        self.assertEqual((made.linked, made.copied), (0, 4))
        shutil.rmtree(self.data)
        self.assertEqual(self.found(self.backup), [])
        restore(self.backup, self.data)
        self.assertEqual(await self.served(), blobs)

    async def test_while_clients_are_at_work(self) -> None:
        backend = await self.open()
        load = Load(backend)
        working = [Deferred.fromCoroutine(load.work(lane)) for lane in "abcd"]
        await load.when_stored(40)
        acknowledged = dict(load.stored)
        await deferToThread(back_up, self.data, self.backup)
        load.is_over = True
        await gatherResults(working)
        self.assertEqual(await self.check_in_thread(), [])
        await backend.close()
        self.assertEqual(self.found(self.backup), [])
        restore(self.backup, self.path("restored"))
        self.assertEqual(self.found(self.path("restored")), [])
        there = await self.served(self.path("restored"))
        missing = {it for it in acknowledged if it not in there and it not in load.deleting}
        self.assertEqual(missing, set())
        for blob, content in there.items():
            self.assertEqual(content, load.all[blob])

    async def test_what_is_deleted_while_it_is_made(self) -> None:
        # Its payload is removed after the snapshot, and before it is linked.
        server = await Forgetful.open(self)
        victim = name("large-1")
        turns: list[str] = []
        bring = Carrier.bring

        def bring_late(carrier: Carrier, payload: Payload) -> bool:
            if payload.name != victim:
                return bring(carrier, payload)
            turns.append("again" if turns else "first")
            if len(turns) == 1:
                return False
            server.delete_and_clean(victim)
            return bring(carrier, payload)

        self.patch(Carrier, "bring", bring_late)
        await deferToThread(back_up, self.data, self.backup)
        self.assertEqual(turns, ["first", "again"])
        await server.backend.close()
        self.assertEqual(self.found(self.backup), [])
        restore(self.backup, self.path("restored"))
        there = await self.served(self.path("restored"))
        self.assertEqual(sorted(it.blob_id for it in there), ["large-0", "large-2"])

    async def test_what_it_brought_for_nothing_is_not_in_it(self) -> None:
        server = await Forgetful.open(self)
        bring = Carrier.bring
        deleted: list[BlobName] = []

        def bring_and_delete(carrier: Carrier, payload: Payload) -> bool:
            is_there = bring(carrier, payload)
            if not deleted:
                deleted.append(payload.name)
                server.delete_and_clean(payload.name)
            return is_there

        self.patch(Carrier, "bring", bring_and_delete)
        made = await deferToThread(back_up, self.data, self.backup)
        self.assertEqual(made.manifest.payloads, 2)
        self.assertEqual(len(self.payload_paths(self.backup)), 2)
        self.assertEqual(self.found(self.backup), [])


class Forgetful:
    """A server with three large blobs, for which an hour passes after each deletion."""

    def __init__(self, data: str) -> None:
        self._now = 10**18
        catalogue = SQLiteCatalogue(os.path.join(data, ".blobman"), now=lambda: self._now)
        self.backend = Backend(catalogue, FolderPayloads(data), None)

    @classmethod
    async def open(cls, test: FolderCase) -> Forgetful:
        made = cls(test.data)
        await made.backend.open()
        test.addCleanup(made.backend.close)
        for number in range(3):
            await put(made.backend, name(f"large-{number}"), sealed(str(number), LARGE))
        return made

    def delete_and_clean(self, blob: BlobName) -> None:
        """Delete a blob, and remove its payload; from another thread."""

        async def work() -> None:
            await self.backend.delete(blob)
            self._now += 3600 * 10**9
            await self.backend.janitor.clean()

        begin: Any = lambda: Deferred.fromCoroutine(work())  # noqa: E731
        blockingCallFromThread(cast(Any, reactor), begin)


class RefusedTests(FolderCase):
    async def test_places(self) -> None:
        self.assertRaises(StoreError, back_up, self.data, self.backup)
        await self.fill(1, 0)
        for inside in ("b", "alice/b", ".blobman/b"):
            place = os.path.join(self.data, inside)
            error = self.assertRaises(StoreError, back_up, self.data, place)
            self.assertIn("inside of the data folder", str(error))
        os.mkdir(self.path("there"))
        self.assertRaises(FileExistsError, back_up, self.data, self.path("there"))
        back_up(self.data, self.backup)
        error = self.assertRaises(StoreError, back_up, self.backup, self.path("another"))
        self.assertIn(f"{self.backup} is a backup", str(error))
        self.assertEqual(sorted(os.listdir(self.folder)), ["backup", "data", "there"])

    async def test_a_backup_is_not_served(self) -> None:
        await self.fill(1, 0)
        back_up(self.data, self.backup)
        await self.assertFailure(Deferred.fromCoroutine(self.open(self.backup)), StoreError)
        self.assertEqual(self.found(self.backup), [])

    async def test_damage(self) -> None:
        await self.fill()
        path = self.payload_paths()[0]
        os.truncate(path, 1000)
        error = self.assertRaises(DamagedError, back_up, self.data, self.backup)
        self.assertIn(os.path.relpath(path, self.data), str(error))
        os.unlink(path)
        error = self.assertRaises(DamagedError, back_up, self.data, self.backup)
        self.assertIn(os.path.relpath(path, self.data), str(error))
        self.assertEqual(os.listdir(self.folder), ["data"])

    async def test_changes_that_are_missing(self) -> None:
        await self.fill(2, 0)
        shutil.copytree(self.data, self.path("older"))
        backend = await self.open()
        await put(backend, name("later"), sealed())
        await backend.close()
        older = self.path("older/.blobman/last-number")
        shutil.copy(os.path.join(self.data, ".blobman/last-number"), older)
        error = self.assertRaises(DamagedError, back_up, self.path("older"), self.backup)
        self.assertIn("changes are missing", str(error))

    def limited(self, size: int) -> Callable[[], None]:
        """Let no file become larger: what is written beyond that fails, as on a full disk."""
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))

        def end() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

        self.addCleanup(end)
        return end

    async def test_a_full_disk_at_the_catalogue(self) -> None:
        blobs = await self.fill(100, 0)
        end = self.limited(200_000)
        error = self.assertRaises(StoreError, back_up, self.data, self.backup)
        end()
        self.assertIn(f"no backup was made in {self.backup}", str(error))
        self.assertEqual(os.listdir(self.folder), ["data"])
        self.assertEqual(await self.served(), blobs)
        back_up(self.data, self.backup)
        self.assertEqual(self.found(self.backup), [])

    async def test_a_full_disk_at_a_payload(self) -> None:
        await self.fill(0, 2)

        def refuse(source: str, target: str) -> None:
            raise OSError(errno.EXDEV, "another file system")

        self.patch(os, "link", refuse)
        end = self.limited(200_000)
        error = self.assertRaises(StoreError, back_up, self.data, self.backup)
        end()
        self.assertIn("the disk is full", str(error))
        self.assertEqual(os.listdir(self.folder), ["data"])

    async def test_killed(self) -> None:
        await self.fill()
        finished = subprocess.run(
            [sys.executable, "-c", _KILLED, self.data, self.backup],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            check=False,
        )
        self.assertEqual(finished.returncode, -signal.SIGKILL)
        left = self.backup + INCOMPLETE
        self.assertEqual(sorted(os.listdir(self.folder)), [os.path.basename(left), "data"])
        error = self.assertRaises(StoreError, restore, left, self.path("restored"))
        self.assertIn("is not a complete backup", str(error))
        error = self.assertRaises(FileExistsError, back_up, self.data, self.backup)
        self.assertIn("interrupted", str(error))
        shutil.rmtree(left)
        back_up(self.data, self.backup)
        with open(os.path.join(self.backup, ".blobman", "backup.json")) as file:
            self.assertEqual(json.load(file)["blobs"], 24)


class Load:
    """
    Clients that put, delete and flag.

    :ivar stored: what was acknowledged, and not deleted.
    :ivar deleting: what is, or will be, deleted.
    :ivar all: what was ever put.
    """

    def __init__(self, backend: Backend) -> None:
        self.stored: dict[BlobName, bytes] = {}
        self.all: dict[BlobName, bytes] = {}
        self.deleting: set[BlobName] = set()
        self.is_over = False
        self._backend = backend
        self._waiting: list[tuple[int, Deferred[None]]] = []

    def when_stored(self, number: int) -> Deferred[None]:
        waiting: Deferred[None] = Deferred()
        self._waiting.append((number, waiting))
        return waiting

    async def work(self, lane: str) -> None:
        number = 0
        while not self.is_over:
            number += 1
            await self._step(name(f"{lane}{number}"), number)
            for wanted, waiting in self._waiting:
                if len(self.stored) >= wanted and not waiting.called:
                    waiting.callback(None)

    def _step(self, blob: BlobName, number: int) -> Coroutine[Any, Any, None]:
        return self._put(blob, number) if number % 5 else self._delete(blob)

    async def _put(self, blob: BlobName, number: int) -> None:
        content = sealed(str(blob), LARGE if number % 3 == 0 else 1000 * number % 90_000 + 100)
        self.all[blob] = content
        await put(self._backend, blob, content)
        self.stored[blob] = content
        await self._backend.set_flags(blob, [Flags.PENDING])

    async def _delete(self, blob: BlobName) -> None:
        victim = next(it for it in self.stored if it.blob_id[0] == blob.blob_id[0])
        self.deleting.add(victim)
        del self.stored[victim]
        await self._backend.delete(victim)
