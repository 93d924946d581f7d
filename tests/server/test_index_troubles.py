"""An index that is damaged, or can't be written: no promise broken, no wrong list."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase, TestCase

from blobman.errors import StoreError
from blobman.model import Flags
from blobman.protocol import ListQuery
from blobman.server import walking
from blobman.server.accounts.quotas import QuotaFile
from blobman.server.filesystem import FilesystemBackend
from blobman.server.folder import BlobFolder
from blobman.server.index import NOTHING, Entry, Index
from blobman.server.running.administration import reindex
from blobman.server.storage import BlobName

from .blobs import sealed
from .contract import name, query

PAGE = 4096


def damage(path: str, first_page: int = 12) -> None:
    """Overwrite all pages from one on."""
    pages = os.path.getsize(path) // PAGE
    assert pages > first_page + 5
    with open(path, "r+b") as file:
        file.seek(first_page * PAGE)
        file.write(b"\xa5" * (pages - first_page) * PAGE)


class FailingConnection:
    """A connection that fails when it is told to."""

    def __init__(self, connection: Any, statement: str, error: sqlite3.Error) -> None:
        self._connection = connection
        self._statement = statement
        self._error = error
        self.fails = True

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._connection, attribute)

    def execute(self, statement: str, *values: Any) -> Any:
        if self.fails and statement.startswith(self._statement):
            raise self._error
        return self._connection.execute(statement, *values)


def fill_up(index: Index, statement: str = "") -> FailingConnection:
    """Let the disk under an index be full; until ``fails`` is set to False."""
    error = sqlite3.OperationalError("database or disk is full")
    writer = FailingConnection(index._writer, statement, error)
    index._writer = writer  # type: ignore[assignment]
    return writer


class BackendCase(TestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        self.root = self.mktemp()
        self.path = os.path.join(self.root, ".blobman", "index.sqlite")
        self.backend = FilesystemBackend(self.root, threads=1)
        await self.backend.open()
        self.addCleanup(self.close)

    async def close(self) -> None:
        await self.backend.close()

    async def store(self, *ids: str) -> None:
        outcomes = await self.backend.store([(name(it), sealed(it)) for it in ids])
        self.assertEqual(outcomes, [None] * len(ids))

    async def ids(self, **fields: Any) -> list[str]:
        return await self.backend.list("alice", query(**fields))

    def used(self) -> int:
        return self.backend._folder.accounts.used("alice")


class DamageTests(BackendCase):
    async def many(self) -> list[str]:
        ids = [f"{number:050}" for number in range(1200)]
        leaf = os.path.join(self.root, "alice", "default", "0", "000", "000000")
        os.makedirs(leaf)
        for blob_id in ids:
            Path(leaf, blob_id).write_bytes(b"")
        await self.backend.close()
        self.assertEqual(reindex(self.root), 1200)
        return ids

    async def test_a_start(self) -> None:
        ids = await self.many()
        for first_page in (12, 1):
            damage(self.path, first_page)
            await self.backend.open()
            self.assertEqual(await self.ids(), ids)
            self.assertEqual(len(await self.ids(order_by="date")), 1200)
            await self.backend.close()
            self.flushLoggedErrors()

    async def test_a_start_after_a_crash(self) -> None:
        ids = await self.many()
        with sqlite3.connect(self.path) as connection:
            connection.execute("UPDATE state SET clean = 0")
            # A list by date would have one blob less.
            connection.execute("PRAGMA writable_schema = 1")
            connection.execute("DELETE FROM sqlite_schema WHERE name = 'blobs_by_date'")
        connection.close()
        damage(self.path)
        await self.backend.open()
        self.assertEqual(await self.ids(), ids)

    async def test_reindex(self) -> None:
        await self.many()
        for content in (None, b"", b"damaged"):
            if content is None:
                damage(self.path)
            else:
                Path(self.path).write_bytes(content)
            self.assertEqual(reindex(self.root), 1200)

    async def test_an_interrupted_reindex_is_not_in_order(self) -> None:
        await self.many()

        def interrupt(_: BlobFolder) -> None:
            raise KeyboardInterrupt

        patch = self.patch(walking, "rebuild", interrupt)
        self.assertRaises(KeyboardInterrupt, reindex, self.root)
        patch.restore()
        index = Index(self.path)
        self.addCleanup(index.close, False)
        self.assertFalse(index.open())

    async def test_reindex_leaves_a_running_server_alone(self) -> None:
        await self.store("a")
        self.assertRaises(StoreError, reindex, self.root)
        self.assertEqual(await self.ids(), ["a"])

    async def test_while_it_serves(self) -> None:
        await self.store("a", "b", "c")
        index = self.backend._folder.index
        error = sqlite3.DatabaseError("database disk image is malformed")
        index._idle_readers = [FailingConnection(index._connect(), "SELECT", error)]  # type: ignore[list-item]
        for _ in range(2):
            await self.assertFailure(self.backend.list("alice", query()), StoreError)
            await self.assertFailure(self.backend.count("alice", query()), StoreError)
        await self.store("d")
        await self.backend.set_flags(name("d"), [Flags.FAILED])
        await self.backend.delete(name("a"))
        stored = await self.backend.read(name("b"))
        self.assertEqual(await stored.read(0, 800), sealed("b"))
        await self.backend.close()
        await self.backend.open()
        self.assertEqual(await self.ids(), ["b", "c", "d"])
        self.assertEqual(await self.ids(flag=Flags.FAILED), ["d"])
        self.assertEqual(await self.ids(deleted=True), ["a"])
        self.assertEqual(self.used(), 2400)


class FullDiskTests(BackendCase):
    async def change_all(self) -> FailingConnection:
        await self.store("a", "b")
        full = fill_up(self.backend._folder.index, "BEGIN")
        await self.store("c")
        upload = await self.backend.receive(name("d"), 800)
        await upload.write([sealed("d")])
        await upload.publish([Flags.PENDING])
        await self.backend.delete(name("a"))
        await self.backend.set_flags(name("b"), [Flags.FAILED])
        return full

    async def check(self) -> None:
        self.assertEqual(await self.ids(), ["b", "c", "d"])
        self.assertEqual(await self.ids(flag=Flags.PENDING), ["d"])
        self.assertEqual(await self.ids(flag=Flags.FAILED), ["b"])
        self.assertEqual(await self.ids(deleted=True), ["a"])
        self.assertEqual(self.used(), 2400)

    async def test_until_there_is_room(self) -> None:
        quotas = QuotaFile(os.path.join(self.root, ".blobman", "quotas.json"))
        quotas.set("alice", 4000)
        full = await self.change_all()
        await self.assertFailure(self.backend.list("alice", query()), StoreError)
        await self.assertFailure(self.backend.count("alice", query()), StoreError)
        full.fails = False
        await self.check()
        await self.store("e", "f")
        (outcome,) = await self.backend.store([(name("g"), sealed())])
        self.assertEqual(type(outcome).__name__, "QuotaExceededError")
        await self.backend.close()
        await self.backend.open()
        self.assertEqual(self.used(), 4000)

    async def test_until_the_end(self) -> None:
        await self.change_all()
        await self.backend.close()
        await self.backend.open()
        await self.check()
        self.assertEqual(self.backend._folder.accounts._reserved["alice"], 0)

    async def test_an_end_at_which_nothing_can_be_written(self) -> None:
        await self.store("a")
        await self.backend._run(fill_up, self.backend._folder.index)
        await self.backend.close()
        await self.backend.open()
        self.assertEqual(await self.ids(), ["a"])

    async def test_an_end_that_fails(self) -> None:
        close = self.backend._folder.close

        def close_and_fail() -> None:
            close()
            raise ValueError("unexpected")

        self.patch(self.backend._folder, "close", close_and_fail)
        await self.backend.close()


class TransactionTests(SynchronousTestCase):
    def test_all_of_a_note_or_nothing(self) -> None:
        folder = self.mktemp()
        os.mkdir(folder)
        index = Index(os.path.join(folder, "index"))
        index.open()
        self.addCleanup(index.close, False)
        for statement in ("INSERT OR REPLACE INTO tombstones", "COMMIT"):
            full = fill_up(index, statement)
            self.assertRaises(StoreError, index.note, name("a"), Entry(1, 2, 0, 3))
            full.fails = False
            self.assertEqual(index.look_up(name("a")), NOTHING)
        self.assertEqual(index.note(name("a"), Entry(1, 2, 0, 3)), 1)


class LinkTests(TestCase):
    async def test_a_user_whose_folder_is_a_link(self) -> None:
        root = self.mktemp()
        backend = FilesystemBackend(root)
        self.addCleanup(backend.close)
        await backend.open()
        await backend.store([(name("a"), sealed())])
        await backend.close()
        shutil.move(os.path.join(root, "alice"), os.path.join(root, "..", "elsewhere-of-alice"))
        elsewhere = os.path.abspath(os.path.join(root, "..", "elsewhere-of-alice"))
        os.symlink(elsewhere, os.path.join(root, "alice"))
        self.assertEqual(reindex(root), 1)
        await backend.open()
        self.assertEqual(await backend.list("alice", ListQuery(namespace="default")), ["a"])
        blob = BlobName("alice", "default", "b")
        self.assertEqual(await backend.store([(blob, sealed())]), [None])
        self.assertEqual(await backend.count("alice", query()), 2)
