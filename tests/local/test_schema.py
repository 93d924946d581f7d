"""The tables and their upgrades."""

from __future__ import annotations

import io

import apsw
from twisted.internet.defer import gatherResults
from twisted.trial.unittest import SynchronousTestCase

from blobman.errors import StoreError, WrongKeyError
from blobman.local import BlobStore
from blobman.local.connection import connect, derive_key
from blobman.local.schema import UPGRADES, VERSION, upgrade
from blobman.model import UNAVAILABLE_STATUSES, SyncStatus
from blobman.reconciliation import FeedState
from blobman.sqlite import pragma

from .contract import HERE, MIB, content
from .test_faults import KEY, DiskTestCase, put, read
from .versions import bring_back

S = SyncStatus


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


class DefaultNamespaceTests(DiskTestCase):
    """Stores in which blobs are in ``''`` and in ``'default'``."""

    async def make_old(self, *blobs: tuple[str, str, SyncStatus, bytes]) -> None:
        """
        Make a store of schema 2.

        :param blobs: id, namespace, status, and content if there is any.
        """
        store = self.open()
        for blob_id, namespace, status, data in blobs:
            space = "to-be-default" if namespace == "default" else namespace
            if data or status is S.LOCAL_ONLY:
                first = S.LOCAL_ONLY if status is S.LOCAL_ONLY else S.PENDING_UPLOAD
                preamble = b"" if status is S.LOCAL_ONLY else b"preamble of " + data[:100]
                file = io.BytesIO(data)
                await store.put(blob_id, file, len(data), space, first, preamble=preamble)
            else:
                await store.update_sync_status(blob_id, S.PENDING_DOWNLOAD, space)
            await store.update_sync_status(blob_id, status, space)
        await store.close()
        rename = "UPDATE blobs SET namespace = 'default' WHERE namespace = 'to-be-default'"
        bring_back(self.path, 2, rename)

    async def contents(self, store: BlobStore) -> dict[tuple[str, str], bytes]:
        found = {}
        for namespace in await store.list_namespaces():
            for blob_id in await store.list(namespace):
                file = await store.get(blob_id, namespace)
                assert file is not None
                found[namespace, blob_id] = file.read()
        return found

    async def test_they_move_as_they_are(self) -> None:
        await self.make_old(
            ("a", "default", S.SYNCED, b"one"),
            ("b", "default", S.PENDING_UPLOAD, content(MIB + 1)),
            ("c", "default", S.FAILED_DOWNLOAD, b""),
            ("d", "", S.SYNCED, b"four"),
            ("a", "mail", S.SYNCED, b"other"),
        )
        store = self.open()
        self.assertEqual(await store.list_namespaces(), ["", "mail"])
        self.assertEqual(await store.list(), ["a", "b", "d"])
        self.assertEqual(await store.get_sync_status("b"), (S.PENDING_UPLOAD, 0))
        self.assertEqual(await store.get_sync_status("c"), (S.FAILED_DOWNLOAD, 0))
        self.assertTrue(await read(store, "b") == content(MIB + 1))
        connection = connect(str(self.path), derive_key(KEY))
        rows = connection.execute("SELECT name FROM sqlite_schema WHERE name = 'twice'").fetchall()
        connection.close()
        self.assertEqual(rows, [])

    async def test_no_copy_is_lost_whatever_the_statuses(self) -> None:
        pairs = [(mine, other) for mine in S for other in S]
        here = [(f"b{n}", "", it, _data(f"{n}", it)) for n, (it, _) in enumerate(pairs)]
        there = [(f"b{n}", "default", it, _data(f"{n}d", it)) for n, (_, it) in enumerate(pairs)]
        await self.make_old(*here, *there)
        store = self.open()
        found = await self.contents(store)
        visible = {it.removesuffix(b"d") for it in found.values()}
        for blob_id, namespace, status, data in (*here, *there):
            if status in HERE:
                self.assertIn(data, found.values(), (blob_id, namespace, status))
        self.assertEqual(len(visible), len({key for _, key in found}))
        for number, (mine, other) in enumerate(pairs):
            record = await store.get_sync_status(f"b{number}")
            assert record is not None
            self.assertIn(record[0], (mine, other))
            if mine in HERE:
                self.assertEqual(found["", f"b{number}"], _data(f"{number}", mine))
            kept = await store.get_sync_status(f"b{number}", "from-default")
            both = mine in HERE and other in HERE
            self.assertEqual(kept, (S.LOCAL_ONLY, 0) if both else None)
            if S.PENDING_DELETE in (mine, other) and not {mine, other} & set(HERE):
                self.assertIs(record[0], S.PENDING_DELETE)

    async def test_the_same_blob_twice(self) -> None:
        data = content(MIB + 1)
        await self.make_old(("a", "", S.SYNCED, data), ("a", "default", S.SYNCED, data))
        self.assertEqual(len(self.payload_files()), 2)
        store = self.open()
        self.assertEqual(await store.list_namespaces(), [""])
        self.assertTrue(await read(store, "a") == data)
        self.assertEqual(len(self.payload_files()), 1)

    async def test_the_place_for_others_is_taken(self) -> None:
        await self.make_old(
            ("a", "", S.SYNCED, b"one"),
            ("a", "default", S.SYNCED, b"two"),
            ("a", "from-default", S.LOCAL_ONLY, b"three"),
        )
        found = await self.contents(self.open())
        self.assertEqual(sorted(found.values()), [b"one", b"three", b"two"])
        self.assertEqual((found["", "a"], found["from-default", "a"]), (b"one", b"three"))


class FeedTests(DiskTestCase):
    """Stores of before the server's changes were followed."""

    async def test_all_stays_as_it_is(self) -> None:
        store = self.open()
        for status in S:
            if status in UNAVAILABLE_STATUSES:
                await store.update_sync_status(status.name, S.PENDING_DOWNLOAD)
            else:
                first = S.LOCAL_ONLY if status is S.LOCAL_ONLY else S.PENDING_UPLOAD
                data = content(MIB + status)
                await store.put(status.name, io.BytesIO(data), len(data), status=first)
            await store.update_sync_status(status.name, status)
        await store.close()
        bring_back(self.path, 4)
        store = self.open()
        for status in S:
            self.assertEqual(await store.get_sync_status(status.name), (status, 0))
            if status in HERE:
                self.assertTrue(await read(store, status.name) == content(MIB + status))
        self.assertEqual(await store.get_feed(), FeedState())
        self.assertEqual(await store.next_outdated("", 9), [])


class DeliveredTests(DiskTestCase):
    """Stores that were taken over before it was recorded what others sealed."""

    async def test_what_was_delivered_is_not_the_user_s(self) -> None:
        store = self.open()
        blobs = (
            ("taken-over", "MX", S.SYNCED, b"", True),
            ("sealed", "MX", S.SYNCED, b"preamble", False),
            ("mine", "MX", S.LOCAL_ONLY, b"", False),
            ("taken-over", "mail", S.SYNCED, b"", False),
        )
        for blob_id, namespace, status, preamble, _ in blobs:
            first = status if status is S.LOCAL_ONLY else S.PENDING_UPLOAD
            data = io.BytesIO(blob_id.encode())
            size = len(blob_id)
            await store.put(blob_id, data, size, namespace, first, preamble=preamble)
            await store.update_sync_status(blob_id, status, namespace)
        await store.close()
        bring_back(self.path, 5)
        store = self.open()
        for blob_id, namespace, _, _, expected in blobs:
            file = await store.get(blob_id, namespace)
            assert file is not None
            self.assertEqual((file.read(), file.external), (blob_id.encode(), expected))


def _data(seed: str, status: SyncStatus) -> bytes:
    return b"" if status in UNAVAILABLE_STATUSES else seed.encode()
