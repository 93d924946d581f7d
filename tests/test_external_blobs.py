"""Blobs that others sealed: by permission, and never in place of one's own."""

from __future__ import annotations

import io

from blobman import BlobManager, ExternalBlobError, InvalidBlob, MaximumRetriesError, SyncStatus
from blobman.crypto import Method, Preamble, Scheme
from blobman.crypto.preamble import INCOMING_REV, write_preamble_text

from .support import MB, ServerTestCase, content, doc
from .test_manager import status_of


def delivered(blob_id: str, data: bytes) -> bytes:
    """What a server has of a blob that was delivered, or that it has made up."""
    scheme, method = Scheme.EXTERNAL, Method.PGP
    preamble = Preamble(scheme, method, 0, bytes(16), blob_id, INCOMING_REV, len(data))
    return write_preamble_text(preamble.encode()) + b" " + data


class ExternalBlobsTests(ServerTestCase):
    async def assertRefused(self, manager: BlobManager, blob_id: str, namespace: str = "") -> None:
        """It does not verify: it counts as such, and nothing of it is here."""
        with self.assertRaises(MaximumRetriesError) as caught:
            await manager.get(blob_id, namespace)
        self.assertIsInstance(caught.exception.__cause__, ExternalBlobError)
        self.assertIn("external blobs are not expected", str(caught.exception))
        self.assertIs(await status_of(manager, blob_id, namespace), SyncStatus.FAILED_DOWNLOAD)
        self.assertEqual(await manager.local_list(namespace), [])

    async def test_where_they_are_expected(self) -> None:
        phone = self.manager(external_namespaces=("MX",))
        for number, size in enumerate((0, 7, 5 * MB)):
            await self.put_on_server(f"x{number}", delivered(f"x{number}", content(size)), "MX")
            with await phone.get(f"x{number}", "MX") as found:
                self.assertEqual((found.read(), found.external), (content(size), True))

    async def test_anywhere_else(self) -> None:
        phone = self.manager(external_namespaces=("MX",))
        for number, size in enumerate((0, 7, 5 * MB)):
            for namespace in ("", "mail"):
                stored = delivered(f"x{number}", content(size))
                await self.put_on_server(f"x{number}", stored, namespace or "default")
                await self.assertRefused(phone, f"x{number}", namespace)

    async def test_a_forged_one_in_place_of_one_s_own(self) -> None:
        await self.manager().put(doc(b"mine", "x"), 4)
        self.replace_on_server("x", delivered("x", b"fake"))
        await self.assertRefused(self.manager("phone"), "x")

    async def test_a_sync_leaves_them_behind(self) -> None:
        await self.manager().put(doc(b"mine", "a"), 4)
        await self.put_on_server("b", delivered("b", b"fake"))
        phone = self.manager("phone")
        with self.assertRaises(MaximumRetriesError) as caught:
            await phone.sync()
        result = caught.exception.result
        self.assertEqual((result.fetched, [it.blob_id for it in result.left]), (1, ["b"]))
        self.assertEqual(await phone.local_list(), ["a"])

    async def test_one_s_own_is_never_replaced(self) -> None:
        laptop, phone = self.manager("laptop"), self.manager("phone", external_namespaces=["MX"])
        await laptop.put(doc(b"mine", "x"), 4, "MX")
        await phone.sync("MX")
        self.remove_from_server("x", "MX")
        await self.put_on_server("x", delivered("x", b"fake"), "MX")
        with self.assertRaises(MaximumRetriesError) as caught:
            await phone.sync("MX")
        self.assertIsInstance(caught.exception.__cause__, InvalidBlob)
        with await phone.get("x", "MX") as found:
            self.assertEqual((found.read(), found.external), (b"mine", False))
        self.assertIs(await status_of(phone, "x", "MX"), SyncStatus.SYNCED)

    async def test_one_that_waits_to_be_sent_is_not_taken_for_it(self) -> None:
        # It ends as the other does, and is as long: that is all the tag of such a blob tells.
        phone = self.manager(external_namespaces=["MX"])
        assert phone.local is not None
        data = content(100) + bytes(16)
        await phone.local.put("x", *_stored(data), "MX", SyncStatus.PENDING_UPLOAD)
        forged = delivered("x", content(100, "other") + bytes(16))
        await self.put_on_server("x", forged, "MX")
        await phone.refresh_sync_status_from_server("MX")
        self.assertIs(await status_of(phone, "x", "MX"), SyncStatus.PENDING_UPLOAD)

    async def test_one_that_came_before_is_not_given_any_more(self) -> None:
        await self.put_on_server("x", delivered("x", b"mail"), "MX")
        phone = self.manager(external_namespaces=["MX"])
        (await phone.get("x", "MX")).close()
        await phone.close()
        strict = self.manager()
        with self.assertRaises(ExternalBlobError) as caught:
            await strict.get("x", "MX")
        self.assertIn("external_namespaces", str(caught.exception))
        self.assertEqual(await strict.local_list("MX"), ["x"])

    async def test_verified_in_depth(self) -> None:
        laptop = self.manager()
        await laptop.put(doc(b"mine", "x"), 4)
        tag = (self.on_server("x") or b"")[-16:]
        self.replace_on_server("x", delivered("x", b"fake" + tag))
        with self.assertRaises(InvalidBlob) as caught:
            await laptop.verify("x", deep=True)
        self.assertIn("external blobs are not expected", str(caught.exception))

    def test_wrong_arguments(self) -> None:
        for wrong, kind in (("MX", TypeError), (7, TypeError), ([None], TypeError)):
            error = self.assertRaises(kind, self.manager, external_namespaces=wrong)
            self.assertIn("external_namespaces", str(error))
        for name in ("a b", "default"):
            error = self.assertRaises(ValueError, self.manager, external_namespaces=[name])
            self.assertIn("external_namespaces", str(error))


class ExternalBlobsInStreamsTests(ExternalBlobsTests):
    streams = True


def _stored(data: bytes) -> tuple[io.BytesIO, int]:
    return io.BytesIO(data), len(data)
