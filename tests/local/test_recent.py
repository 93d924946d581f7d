"""What was put a moment ago is not read again for its upload; unless it is another by then."""

from __future__ import annotations

import io
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from blobman.local import BlobStore, batches
from blobman.local import recent as recent_module
from blobman.local.payload_rows import Payload
from blobman.local.recent import Recent, RecentPayloads
from blobman.model import BlobKey, Priority, SyncStatus

from .contract import content


def recent(number: int, size: int) -> Recent:
    return Recent(number, Payload(size, b"", False, bytes(size)))


class RecentPayloadsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(recent_module, "OVERHEAD", 0)
        self.kept = RecentPayloads(10, largest=10)
        self.keys = [BlobKey("", name) for name in "abc"]

    def test_each_is_taken_once(self) -> None:
        self.kept.keep(self.keys[0], recent(1, 4))
        self.assertEqual(self.kept.take(self.keys), {self.keys[0]: recent(1, 4)})
        self.assertEqual(self.kept.take(self.keys), {})

    def test_no_more_than_there_is_room_for(self) -> None:
        for number, key in enumerate(self.keys):
            self.kept.keep(key, recent(number, 5))
        self.assertEqual(set(self.kept.take(self.keys)), set(self.keys[:2]))
        self.kept.keep(self.keys[2], recent(2, 10))
        self.assertEqual(set(self.kept.take(self.keys)), {self.keys[2]})

    def test_the_last_one_of_a_name(self) -> None:
        self.kept.keep(self.keys[0], recent(1, 9))
        self.kept.keep(self.keys[0], recent(2, 9))
        self.assertEqual(self.kept.take(self.keys)[self.keys[0]].number, 2)
        self.kept.keep(self.keys[0], recent(3, 9))
        self.kept.keep(self.keys[0], recent(4, 11))
        self.assertEqual(self.kept.take(self.keys), {})

    def test_empty_ones_count_too(self) -> None:
        kept = RecentPayloads(10_000, largest=10)
        keys = [BlobKey("", f"b{number}") for number in range(1000)]
        self.patch(recent_module, "OVERHEAD", 500)
        for number, key in enumerate(keys):
            kept.keep(key, recent(number, 0))
        self.assertEqual(len(kept.take(keys)), 20)

    def test_large_ones_are_not_kept(self) -> None:
        kept = RecentPayloads(10_000, largest=10)
        kept.keep(self.keys[0], recent(1, 11))
        kept.keep(self.keys[1], recent(2, 10))
        self.assertEqual(set(kept.take(self.keys)), {self.keys[1]})


class StoreTests(TestCase):
    def setUp(self) -> None:
        self.folder = self.mktemp()
        self.store = self.open()
        self.read: list[BlobKey] = []
        find = batches.find_pending_uploads

        def watched(connection: Any, keys: Any, max_size: int) -> Any:
            self.read += keys
            return find(connection, keys, max_size)

        self.patch(batches, "find_pending_uploads", watched)

    def open(self) -> BlobStore:
        store = BlobStore(self.folder, "user", b"key")
        self.addCleanup(store.close)
        return store

    def put(self, store: BlobStore, blob_id: str, data: bytes) -> Deferred[None]:
        return store.put(blob_id, io.BytesIO(data), len(data), preamble=b"preamble")

    async def uploads(self, *blob_ids: str, max_size: int = 99) -> dict[str, bytes]:
        opened = await self.store.open_pending_uploads(list(blob_ids), "", max_size)
        return {it: await payload.read_chunk(0) for it, payload in opened.items()}

    async def test_read_from_memory_once(self) -> None:
        await self.put(self.store, "a", b"one")
        await self.put(self.store, "b", b"two")
        self.assertEqual(await self.uploads("a", "b"), {"a": b"one", "b": b"two"})
        self.assertEqual(self.read, [])
        self.assertEqual(await self.uploads("a", "b"), {"a": b"one", "b": b"two"})
        self.assertEqual([key.blob_id for key in self.read], ["a", "b"])

    async def test_too_large(self) -> None:
        await self.put(self.store, "a", b"longer than that")
        self.assertEqual(await self.uploads("a", max_size=3), {})

    async def test_uploaded_meanwhile(self) -> None:
        await self.put(self.store, "a", b"one")
        await self.put(self.store, "b", b"two")
        await self.store.update_sync_status("a", SyncStatus.SYNCED)
        self.assertEqual(await self.uploads("a", "b"), {"b": b"two"})

    async def test_replaced_by_another_process(self) -> None:
        """The content that goes up is the one that goes with the preamble that is recorded."""
        await self.put(self.store, "a", b"the first")
        await self.put(self.store, "b", b"another")
        other = self.open()
        await other.update_sync_status("a", SyncStatus.PENDING_DELETE)
        await other.delete("a")
        await self.put(other, "a", b"the second")
        self.assertEqual(await self.uploads("a", "b"), {"a": b"the second", "b": b"another"})

    async def test_nothing_stays_behind(self) -> None:
        """Whatever else is done with a blob, it is not kept for an upload that does not come."""
        for blob_id in "abcde":
            await self.put(self.store, blob_id, b"content")
        await self.store.open_payload("a")
        await self.store.update_sync_status("b", SyncStatus.FAILED_UPLOAD)
        await self.store.update_sync_status("c", SyncStatus.PENDING_DELETE)
        await self.store.delete("c")
        await self.store.update_priority("d", Priority.HIGH)
        kept = self.store._recent.take([BlobKey("", it) for it in "abcde"])
        self.assertEqual([key.blob_id for key in kept], ["e"])

    async def test_local_only(self) -> None:
        data = content(100)
        await self.store.put("a", io.BytesIO(data), 100, status=SyncStatus.LOCAL_ONLY)
        self.assertEqual(await self.uploads("a"), {})
