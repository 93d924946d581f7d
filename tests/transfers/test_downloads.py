"""What becomes of a download when the blob goes away under it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from blobman.errors import BlobNotFoundError, DeletedMeanwhile
from blobman.interfaces import IRemote, IRemoteStream
from blobman.model import BlobKey, SyncStatus
from blobman.testing import MemoryStore
from blobman.transfers.downloads import Downloader
from blobman.transfers.sharing import Transfers

KEY = BlobKey("", "a")


class _Stream:
    """Has no blob; while it says so, something happens here."""

    def __init__(self, meanwhile: Callable[[], Deferred[Any]]) -> None:
        self._meanwhile = meanwhile

    async def download_many(
        self, ids: list[str], stage: object, ended: Callable[..., None], namespace: str
    ) -> None:
        await self._meanwhile()
        for blob_id in ids:
            ended(blob_id, BlobNotFoundError(f"no {blob_id}"))


class NotThereTests(TestCase):
    """The server does not have it any more."""

    async def setUp(self) -> None:  # type: ignore[override]
        self.store = MemoryStore()
        await self.store.update_sync_status("a", SyncStatus.PENDING_DOWNLOAD)

    async def download(self, meanwhile: Callable[[], Deferred[Any]]) -> None:
        transfers = Transfers(lambda: 1, Clock())
        stream = cast(IRemoteStream, _Stream(meanwhile))
        remote = cast(IRemote, None)
        downloader = Downloader(self.store, remote, stream, transfers.permits, lambda: 3)
        await transfers.share(KEY, "download", 2, partial(downloader.start, asked_for=False))

    async def test_deleted_elsewhere(self) -> None:
        with self.assertRaises(BlobNotFoundError) as caught:
            await self.download(lambda: succeed(None))
        self.assertNotIsInstance(caught.exception, DeletedMeanwhile)
        self.assertIsNone(await self.store.get_sync_status("a"))

    async def test_deleted_here(self) -> None:
        with self.assertRaises(DeletedMeanwhile):
            await self.download(lambda: self.store.forget("a"))

    async def test_being_deleted_here(self) -> None:
        with self.assertRaises(DeletedMeanwhile):
            await self.download(
                lambda: self.store.update_sync_status("a", SyncStatus.PENDING_DELETE)
            )
        self.assertEqual(
            (await self.store.get_sync_status("a") or [None])[0], SyncStatus.PENDING_DELETE
        )
