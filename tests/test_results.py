"""What a synchronization says that it has done."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail

from blobman import (
    BlobAlreadyExistsError,
    BlobError,
    LeftBlob,
    MaximumRetriesError,
    RetriableTransferError,
    ServerError,
    SyncResult,
    SyncStatus,
    UnauthorizedError,
)
from blobman.remote import BlobsClient

from .support import ServerTestCase, doc
from .test_sync import put


class ResultTests(ServerTestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.laptop, self.phone = self.manager("laptop"), self.manager("phone")

    async def put_offline(self, *blob_ids: str, data: bytes = b"phone's") -> None:
        await self.stop_server()
        for blob_id in blob_ids:
            with self.assertRaises(RetriableTransferError):
                await self.phone.put(doc(data, blob_id), len(data))
        await self.start_server()

    async def test_nothing(self) -> None:
        for _ in range(2):
            self.assertEqual(await self.phone.sync(), SyncResult(0, 0, 0, ()))

    async def test_what_has_moved(self) -> None:
        await put(self.laptop, "a", "b", "c", "d", "e")
        self.assertEqual(await self.phone.sync(), SyncResult(fetched=5))
        await self.put_offline("f", "g")
        await self.stop_server()
        with self.assertRaises(RetriableTransferError):
            await self.phone.delete("a")
        await self.start_server()
        await self.laptop.delete("b")
        await self.laptop.delete("c")
        await put(self.laptop, "h")
        self.assertEqual(await self.phone.sync(), SyncResult(fetched=1, sent=2, deleted=3))
        self.assertEqual(await self.phone.sync(), SyncResult())
        self.assertEqual(await self.laptop.sync(), SyncResult(fetched=2, deleted=1))

    async def test_one_direction(self) -> None:
        await put(self.laptop, "a", "b")
        await self.put_offline("c")
        await self.phone.refresh_sync_status_from_server()
        self.assertEqual(await self.phone.send_missing(), SyncResult(sent=1))
        self.assertEqual(await self.phone.fetch_missing(), SyncResult(fetched=2))

    async def test_an_id_that_was_used_again(self) -> None:
        await put(self.laptop, "x", "y")
        await self.phone.sync()
        for blob_id in "xy":
            await self.laptop.delete(blob_id)
        await put(self.laptop, "x", "y", size=200)
        self.assertEqual(await self.phone.sync(), SyncResult(fetched=2))
        self.assertEqual(await self.laptop.sync(), SyncResult())

    async def test_a_deletion_that_had_become_another_blob(self) -> None:
        await put(self.laptop, "x")
        await self.phone.sync()
        await self.stop_server()
        with self.assertRaises(RetriableTransferError):
            await self.phone.delete("x")
        await self.start_server()
        await self.laptop.delete("x")
        await put(self.laptop, "x", size=200)
        self.assertEqual(await self.phone.sync(), SyncResult(fetched=1))

    async def test_an_error_has_the_result(self) -> None:
        await put(self.laptop, "bad", "good", "theirs")
        self.change_on_server("bad", -20)
        await self.put_offline("theirs", "new")
        with self.assertRaises(BlobError) as caught:
            await self.phone.sync()
        result = caught.exception.result
        self.assertEqual((result.fetched, result.sent, result.deleted), (1, 1, 0))
        left = {it.blob_id: it for it in result.left}
        self.assertEqual(set(left), {"bad", "theirs"})
        self.assertEqual(left["bad"][:3], ("", "bad", SyncStatus.FAILED_DOWNLOAD))
        self.assertIsInstance(left["bad"].error, MaximumRetriesError)
        self.assertEqual(left["theirs"][:3], ("", "theirs", SyncStatus.FAILED_UPLOAD))
        self.assertIsInstance(left["theirs"].error, BlobAlreadyExistsError)
        # The next one has nothing to fail with, and says what is left all the same.
        again = await self.phone.sync()
        self.assertEqual(
            set(again.left),
            {
                LeftBlob("", "bad", SyncStatus.FAILED_DOWNLOAD, None),
                LeftBlob("", "theirs", SyncStatus.FAILED_UPLOAD, None),
            },
        )

    async def test_what_is_left_for_the_next_time(self) -> None:
        await put(self.laptop, "a", "b")
        honest = BlobsClient.download

        def refusing(client: BlobsClient, blob_id: str, *arguments: Any) -> Deferred[None]:
            if blob_id == "a":
                return fail(ServerError("no", 400))
            return honest(client, blob_id, *arguments)

        self.patch(BlobsClient, "download", refusing)
        with self.assertRaises(ServerError) as caught:
            await self.phone.sync()
        error = caught.exception
        [left] = error.result.left
        self.assertEqual((left.status, str(left.error)), (SyncStatus.PENDING_DOWNLOAD, str(error)))
        self.assertEqual(error.result.fetched, 1)

    async def test_who_shares_the_error_is_told_of_no_result(self) -> None:
        await put(self.laptop, "bad")
        self.change_on_server("bad", -20)
        await self.phone.refresh_sync_status_from_server()
        syncing, getting = self.phone.fetch_missing(), self.phone.get("bad")
        for operation, has_result in ((syncing, True), (getting, False)):
            with self.assertRaises(MaximumRetriesError) as caught:
                await operation
            self.assertEqual(caught.exception.result is not None, has_result)
            self.assertIsNotNone(caught.exception.__cause__)

    async def test_what_ends_it_at_once(self) -> None:
        await self.phone.close()
        with self.assertRaises(UnauthorizedError) as caught:
            await self.manager("phone", token="stolen").sync()
        self.assertEqual(caught.exception.result, SyncResult())


class ResultAtAnOldServerTests(ResultTests):
    is_old = True
