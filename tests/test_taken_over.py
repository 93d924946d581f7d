"""What was taken over from Soledad is brought into step with the server that it came from."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blobman import BlobManager, BlobNotFoundError, ExternalBlobError, SyncStatus

from .local.old import make_old
from .support import KEY, MB, ServerTestCase, content, doc
from .test_external_blobs import delivered
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


class DeliveredTests(ServerTestCase):
    """What others put beside the user's own: Soledad did not record which is which."""

    def taken_over(
        self, status: SyncStatus, namespace: str = "MX", data: bytes = b"mail", **more: Any
    ) -> BlobManager:
        path = Path(os.path.join(self.folder, "old"))
        states = [("x", namespace, int(status), 2, 0)]
        make_old(path / "alice_blobs.db", KEY.encode(), [("x", data, namespace)], states)
        return self.manager("old", **{"external_namespaces": ["MX", "lists"], **more})

    async def is_external(self, manager: BlobManager, namespace: str = "MX") -> bool:
        with await manager.get("x", namespace) as found:
            return bool(found.external)

    async def test_it_is_external_where_others_put_blobs(self) -> None:
        for namespace, expected in (("MX", True), ("lists", True), ("mail", False)):
            old = self.taken_over(SyncStatus.SYNCED, namespace)
            self.assertIs(await self.is_external(old, namespace), expected)
            await old.close()
            shutil.rmtree(os.path.join(self.folder, "old"))

    async def test_large_ones_too(self) -> None:
        self.assertTrue(await self.is_external(self.taken_over(SyncStatus.SYNCED, data=LARGE)))

    async def test_what_was_put_here_and_never_sent_is_the_user_s(self) -> None:
        self.assertFalse(await self.is_external(self.taken_over(SyncStatus.LOCAL_ONLY)))

    async def test_where_soledad_delivered_it_is_so_even_if_nobody_says_it(self) -> None:
        old = self.taken_over(SyncStatus.SYNCED, external_namespaces=[])
        with self.assertRaises(ExternalBlobError):
            await old.get("x", "MX")
        await old.close()
        self.assertTrue(await self.is_external(self.manager("old", external_namespaces=["MX"])))

    async def test_it_is_in_step_with_what_was_delivered(self) -> None:
        await self.put_on_server("x", delivered("x", b"mail"), "MX")
        for status in (SyncStatus.SYNCED, SyncStatus.PENDING_UPLOAD):
            old = self.taken_over(status)
            await old.sync("MX")
            self.assertEqual(await old.sync_progress, {"SYNCED": 1})
            self.assertTrue(await old.verify("x", "MX", deep=True))
            await old.close()
            shutil.rmtree(os.path.join(self.folder, "old"))

    async def test_it_is_never_sealed_as_the_user_s(self) -> None:
        # Nor sent as it is: it could be what the user put.
        for streams in (False, True):
            self.streams = streams
            old = self.taken_over(SyncStatus.SYNCED)
            with self.assertRaises(ExternalBlobError) as caught:
                await old.sync("MX")
            self.assertIn("'x' in namespace 'MX'", str(caught.exception))
            self.assertEqual(await old.remote_list("MX"), [])
            self.assertIs(await status_of(old, "x", "MX"), SyncStatus.FAILED_UPLOAD)
            self.assertEqual((await old.get("x", "MX")).read(), b"mail")
            await old.close()
            shutil.rmtree(os.path.join(self.folder, "old"))
