"""The tables and their upgrades."""

from __future__ import annotations

import apsw
from twisted.internet.defer import gatherResults
from twisted.trial.unittest import SynchronousTestCase

from blobman.errors import StoreError, WrongKeyError
from blobman.local.connection import connect, derive_key, pragma
from blobman.local.schema import UPGRADES, VERSION, upgrade
from blobman.model import SyncStatus

from .test_faults import KEY, DiskTestCase, put


class UpgradeTests(SynchronousTestCase):
    def test_numbers_have_no_gap(self) -> None:
        self.assertEqual([step.number for step in UPGRADES], list(range(1, VERSION + 1)))

    def test_each_says_what_it_is_for(self) -> None:
        for step in UPGRADES:
            self.assertTrue(step.purpose)
            self.assertTrue(step.statements)

    def test_all_from_nothing(self) -> None:
        connection = apsw.Connection(":memory:")
        upgrade(connection, "memory")
        self.assertEqual(pragma(connection, "user_version"), VERSION)
        upgrade(connection, "memory")
        self.assertEqual(connection.execute("SELECT * FROM blobs").fetchall(), [])

    def test_what_can_not_be(self) -> None:
        """The tables themselves refuse a status that does not go with the content."""
        connection = apsw.Connection(":memory:")
        upgrade(connection, "memory")
        insert = "INSERT INTO blobs (namespace, blob_id, status, priority) VALUES ('', 'a', ?, ?)"
        for status in (*SyncStatus, 0, 8):
            if status not in (3, 5, 6):
                with self.assertRaises(apsw.ConstraintError):
                    connection.execute(insert, (status, 2))
        with self.assertRaises(apsw.ConstraintError):
            connection.execute(insert, (3, 5))


class VersionTests(DiskTestCase):
    async def test_a_newer_one_is_refused(self) -> None:
        store = self.open()
        await put(store, "a", b"data")
        await store.close()
        connection = connect(str(self.path), derive_key(KEY))
        pragma(connection, f"user_version={VERSION + 1}")
        connection.close()
        error = await self.refuses(self.open().list(), "newer version", str(VERSION + 1))
        self.assertNotIsInstance(error, WrongKeyError)
        self.assertIsInstance(error, StoreError)

    async def test_many_open_a_new_one_at_once(self) -> None:
        stores = [self.open() for _ in range(5)]
        await gatherResults([put(store, f"b{n}", b"x") for n, store in enumerate(stores)])
        self.assertEqual(len(await stores[0].list()), 5)

    async def test_cipher_and_pages(self) -> None:
        store = self.open()
        settings = ("cipher", "algorithm", "page_size", "journal_mode", "synchronous")
        found = await store._database.write(lambda c: [pragma(c, name) for name in settings])
        self.assertEqual(found, ["aegis", "aegis-256", 16384, "wal", 2])
