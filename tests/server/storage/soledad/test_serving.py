"""Folders that were taken over, served to managers; and files that are changed afterwards."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.logger import capturedLogs
from twisted.trial.unittest import TestCase

from blobman import BlobManager, Flags, SyncStatus
from blobman.errors import StoreError
from blobman.server.storage.backends import folder_backend
from blobman.server.storage.interface import BlobName, DamagedError
from blobman.server.storage.soledad import taking
from blobman.server.storage.soledad.files import Odd

from ....support import ServerTestCase, content, doc
from .case import AdoptionCase
from .older import OlderFolder, record, sealed

VECTOR = Path(__file__).parents[3] / "vectors" / "blobman-server-dir"


def clear_text(blob_id: str, size: int) -> bytes:
    """What a blob of the folder holds."""
    rounds = range(size // 32 + 1)
    data = b"".join(hashlib.sha256(f"{blob_id}-{it}".encode()).digest() for it in rounds)
    return data[:size]


class ManagerTests(ServerTestCase):
    """A manager of Alice's, whose blobs the folder has."""

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.expected = json.loads((VECTOR / "expected.json").read_text())
        await self.serve_older()

    async def serve_older(self) -> None:
        """Serve the folder as it was before it was taken over."""
        await self.stop_server()
        shutil.rmtree(self.data)
        shutil.copytree(VECTOR / "data", self.data)
        await self.start_server()

    def manager(self, name: str = "laptop", **options: Any) -> BlobManager:
        return super().manager(name, secret=self.expected["secret"], **options)

    def blobs(self) -> list[tuple[str, str, int]]:
        """Name Alice's blobs, with the size of each."""
        return [
            (it["blob_id"], it["namespace"].replace("default", ""), it["size"])
            for it in self.expected["blobs"]
            if it["user"] == "alice"
        ]

    async def check_in_sync(self, manager: BlobManager) -> None:
        for namespace in ("", "mail"):
            await manager.sync(namespace)
            expected = sorted(it for it, where, _ in self.blobs() if where == namespace)
            synced = await manager.local_list_status(SyncStatus.SYNCED, namespace)
            self.assertEqual(sorted(synced), expected)
            self.assertEqual(sorted(await manager.local_list(namespace)), expected)
        for blob_id, namespace, size in self.blobs():
            got = (await manager.get(blob_id, namespace)).read()
            self.assertEqual(got, clear_text(blob_id, size))

    async def numbers(self) -> list[int]:
        assert self.service is not None
        backend: Any = self.service.backend
        places = [("alice", "default"), ("alice", "mail"), ("bob", "default")]
        return [(await backend.catalogue.history(*it)).number for it in places]

    async def test_what_is_in_sync_stays_so(self) -> None:
        manager = self.manager()
        await self.check_in_sync(manager)
        await self.serve_older()
        numbers = await self.numbers()
        await self.check_in_sync(manager)
        for blob_id, namespace, _ in self.blobs():
            await manager.verify(blob_id, namespace)
        self.assertEqual(await self.numbers(), numbers, "something was changed there")

    async def test_streams(self) -> None:
        manager = self.manager(remote_stream=self.url_at(self.port, "stream"))
        await self.check_in_sync(manager)

    async def test_it_is_worked_with(self) -> None:
        manager = self.manager()
        await manager.sync()
        self.assertEqual(await manager.get_flags("letter-2"), [Flags.PROCESSING, Flags.FAILED])
        await manager.set_flags("letter-1", [Flags.PENDING])
        self.assertEqual(
            await manager.remote_list(filter_flag=Flags.PENDING), ["L" * 254, "letter-1"]
        )
        await manager.delete("letter-1")
        await manager.put(doc(content(300), "erased"), 300)
        other = self.manager("phone")
        await other.sync()
        self.assertEqual((await other.get("erased")).read(), content(300))
        self.assertNotIn("letter-1", await other.local_list())
        self.assertEqual(await other.remote_list(deleted=True), ["again", "erased", "letter-1"])


class ChangedFileTests(AdoptionCase):
    """A file that is not as it was taken over is damaged, and no other blob is."""

    async def check(self, change: str) -> None:
        self.older = OlderFolder(self.mktemp())
        self.root = str(self.older.path)
        path = self.older.put(("alice", "default", "a"), sealed("a"))
        self.older.put(("alice", "default", "b"), sealed("b"))
        backend = await self.open()
        original = path.read_bytes()
        path.unlink()
        if change == "replaced by a link":
            os.symlink("b", path)
        elif change == "shorter":
            path.write_bytes(original[:-1])
        elif change == "longer":
            path.write_bytes(original + b"x")
        elif change == "another one":
            path.write_bytes(sealed("c"))
        elif change == "empty":
            path.write_bytes(b"")
        name, other = BlobName("alice", "default", "a"), BlobName("alice", "default", "b")
        await self.assertFailure(backend.read(name), DamagedError)
        self.assertEqual(await self.content(backend, *other), sealed("b"))
        [first, *_] = await backend.read_some([other, name], 1_000_000)
        assert first is not None
        first.close()
        # It can be deleted, and put again.
        await backend.delete(name)
        await backend.store([(name, sealed("new"))])
        self.assertEqual(await self.content(backend, *name), sealed("new"))
        await backend.close()

    async def test_changes(self) -> None:
        for change in (
            "missing", "empty", "shorter", "longer", "another one", "replaced by a link",
        ):  # fmt: skip
            await self.check(change)


class ManyFilesTests(AdoptionCase):
    async def test_small_ones_are_read_together(self) -> None:
        names = [BlobName("alice", "default", it) for it in "abcdef"]
        for it in names:
            self.older.put((*it,), sealed(it.blob_id))
        self.older.put(("alice", "default", "large"), sealed("large", 200_000))
        (self.older.leaf(*names[3]) / "d").write_bytes(sealed("d", 900))
        backend = await self.open()
        missing, large = BlobName("alice", "MX", "a"), BlobName("alice", "default", "large")
        wanted = [names[0], missing, *names[1:], large, names[0]]
        found = await backend.read_some(wanted, 1_000_000)
        contents = [it and it.content for it in found]
        expected = [sealed("a"), None, sealed("b"), sealed("c"), sealed("d", 900)]
        self.assertEqual(contents, [*expected, sealed("e"), sealed("f"), None])
        for stored in found:
            if stored is not None:
                stored.close()
        # As many as are wanted, and those before one that is damaged.
        self.assertEqual(len(await backend.read_some(names, 1601)), 3)
        (self.older.leaf(*names[2]) / "c").write_bytes(b"")
        self.assertEqual(len(await backend.read_some(names, 1_000_000)), 2)
        await self.assertFailure(backend.read_some(names[2:], 1_000_000), DamagedError)
        reading = backend.read_some(wanted, 1_000_000)
        reading.cancel()
        await self.assertFailure(reading, CancelledError)


class AgainTests(AdoptionCase):
    async def test_a_start_that_failed_counts_for_nothing(self) -> None:
        self.older.put(("alice", "default", "a"), sealed("a"))
        self.older.put(("bob", "default", "odd"), b"")
        hear, attempts = self.heard.odd, []

        def fail_at_first(odd: Odd) -> None:
            attempts.append(odd)
            if len(attempts) == 1:
                raise StoreError("the disk has failed")
            hear(odd)

        self.patch(self.heard, "odd", fail_at_first)
        backend = self.backend()
        await self.assertFailure(backend.open(), StoreError)
        await backend.open()
        self.assertEqual((self.adoption.report.blobs, self.adoption.report.odd), (1, 1))
        self.assertEqual(await self.content(backend, "alice", "default", "a"), sealed("a"))
        [usage] = await backend.catalogue.usage()
        self.assertEqual(usage.blobs, 1)


class LogTests(TestCase):
    async def test_a_start_tells_what_it_does(self) -> None:
        self.patch(taking, "PROGRESS_EVERY", 2)
        older = OlderFolder(self.mktemp())
        for number in range(5):
            older.put(("alice", "default", f"b{number}"), sealed(str(number)))
        older.put(("alice", "default", "odd"), b"")
        older.journal(1, record(b"D", ("bob", "MX", "c"), sealed("c")))
        with capturedLogs() as events:
            backend = folder_backend(str(older.path))
            await backend.open()
        await backend.close()
        own = [it for it in events if str(it.get("log_format", "")).startswith("Taking over")]
        levels = [(it["log_level"].name, it.get("blobs"), it.get("path")) for it in own]
        told = [it for it in levels if it[0] == "warn"]
        self.assertEqual(told, [("warn", None, "alice/default/o/odd/odd/odd")])
        self.assertEqual([it for it in levels if it[0] == "info"][-1], ("info", 6, None))
        self.assertEqual([it[1] for it in levels if it[0] == "info"], [2, 4, 6, 6])
        self.assertEqual(own[-1]["size"], 6 * 800)

    async def test_there_is_nothing_to_tell(self) -> None:
        with capturedLogs() as events:
            backend = folder_backend(self.mktemp())
            await backend.open()
        await backend.close()
        self.assertFalse(
            [it for it in events if str(it.get("log_format", "")).startswith("Taking over")]
        )
