"""What a damaged store holds is not sent: a real manager, and a real server."""

from __future__ import annotations

import os
from pathlib import Path

from blobman import BlobManager, NotConfiguredError, StoreError, SyncStatus
from blobman.local.connection import connect, derive_key

from .support import KEY, MB, USER, ServerTestCase, content, doc


class UploadTests(ServerTestCase):
    """Blobs wait to be uploaded when their bytes become others."""

    streams = True

    async def store(self, *sizes: int) -> Path:
        """Leave some blobs for the next sync, and give their database."""
        offline = self.manager("laptop", remote="", remote_stream="")
        for size in sizes:
            with self.assertRaises(NotConfiguredError):
                await offline.put(doc(content(size), f"b{size}"), size)
        await offline.close()
        return Path(self.folder, "laptop", f"{USER}_blobs.db")

    async def check_not_sent(self, damaged: list[str], sound: list[str]) -> None:
        laptop: BlobManager = self.manager("laptop")
        with self.assertRaises(StoreError):
            await laptop.sync()
        self.assertEqual(sorted(await laptop.remote_list()), sound)
        waiting = await laptop.local_list_status(SyncStatus.PENDING_UPLOAD)
        self.assertEqual(sorted(waiting), damaged)
        for blob_id in damaged:
            with self.assertRaises(StoreError):
                (await laptop.get(blob_id)).read()

    async def test_a_file_that_was_cut(self) -> None:
        database = await self.store(2 * MB, 1000)
        (payload,) = database.with_suffix(".payloads").iterdir()
        os.truncate(payload, payload.stat().st_size - 1)
        await self.check_not_sent([f"b{2 * MB}"], ["b1000"])

    async def test_other_bytes(self) -> None:
        """In small ones, which would travel together, and in one that travels alone."""
        database = await self.store(500, 700, 900_000)
        connection = connect(str(database), derive_key(KEY.encode()))
        for size in (700, 900_000):
            connection.execute(
                "UPDATE payloads SET content = ? WHERE size = ?", (content(size, "other"), size)
            )
        connection.close()
        await self.check_not_sent(["b700", "b900000"], ["b500"])
