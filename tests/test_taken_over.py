"""What was taken over from Soledad is brought into step with the server that it came from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from blobman import BlobManager, BlobNotFoundError, SyncStatus

from .local.old import make_old
from .support import KEY, MB, ServerTestCase, content, doc
from .test_manager import status_of

LARGE = content(3 * MB)


class TakenOverTests(ServerTestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.phone = self.manager("phone")
        for blob_id, data in (("small", b"data"), ("large", LARGE)):
            await self.phone.put(doc(data, blob_id), len(data))

    def taken_over(self, status: SyncStatus, blobs: Mapping[str, bytes]) -> BlobManager:
        """Give a manager whose store was one of Soledad's."""
        path = Path(os.path.join(self.folder, "old"))
        rows = [(blob_id, data, "") for blob_id, data in blobs.items()]
        states = [(blob_id, "", int(status), 2, 0) for blob_id in blobs]
        make_old(path / "alice_blobs.db", KEY.encode(), rows, states)
        return self.manager("old")

    async def test_what_was_deleted_stays_deleted(self) -> None:
        old = self.taken_over(SyncStatus.PENDING_DELETE, {"small": b"data", "large": LARGE})
        await old.sync()
        self.assertEqual(await old.sync_progress, {})
        self.assertEqual(await old.remote_list(), [])

    async def test_what_is_another_blob_by_now_is_not_deleted(self) -> None:
        others = {"small": b"else", "large": LARGE[:-1] + b"x"}
        old = self.taken_over(SyncStatus.PENDING_DELETE, others)
        await old.sync()
        self.assertEqual(await old.sync_progress, {"SYNCED": 2})
        self.assertEqual((await old.get("small")).read(), b"data")
        self.assertEqual((await old.get("large")).read(), LARGE)

    async def test_what_had_been_sent_is_known_again(self) -> None:
        old = self.taken_over(SyncStatus.PENDING_UPLOAD, {"small": b"data", "large": LARGE})
        await old.sync()
        self.assertEqual(await old.sync_progress, {"SYNCED": 2})

    async def test_what_had_not_is_sent(self) -> None:
        old = self.taken_over(SyncStatus.PENDING_UPLOAD, {"new": b"new", "empty": b""})
        await old.sync()
        self.assertEqual((await self.phone.get("new")).read(), b"new")
        self.assertEqual((await self.phone.get("empty")).read(), b"")

    async def test_verify(self) -> None:
        old = self.taken_over(
            SyncStatus.SYNCED, {"small": b"data", "large": b"another", "none": b""}
        )
        self.assertTrue(await old.verify("small", deep=True))
        self.assertFalse(await old.verify("large"))
        with self.assertRaises(BlobNotFoundError):
            await old.verify("none")

    async def test_what_the_server_lost_is_given_back(self) -> None:
        old = self.taken_over(SyncStatus.SYNCED, {"lost": b"lost"})
        await old.sync()
        self.assertEqual((await self.phone.get("lost")).read(), b"lost")
        self.assertIs(await status_of(old, "lost"), SyncStatus.SYNCED)
        self.assertTrue(await old.verify("lost"))
