"""A server that serves a blob in place of another one of that id: it is opened nowhere else."""

from __future__ import annotations

import io
import os
from typing import Any

from blobman import (
    BlobManager,
    InvalidBlob,
    MaximumRetriesError,
    NotConfiguredError,
    SyncStatus,
)
from blobman.crypto import Preamble, Seals
from blobman.crypto.preamble import read_preamble_text
from blobman.server.accounts.tokens import TokenFile
from blobman.server.storage.interface import BlobName

from .crypto.vectors import BLOBS, sealed_bytes
from .crypto.vectors import SECRET as VECTOR_SECRET
from .server import tampering
from .support import MB, SECRET, USER, ServerTestCase, content, doc, engine_of
from .test_manager import status_of

SIZES = (0, 7, 200_000, 5 * MB)
"""In one piece, among others in a stream, and in a request of its own."""


async def put(manager: BlobManager, blob_id: str, data: bytes, namespace: str = "") -> None:
    await manager.put(doc(data, blob_id), len(data), namespace)


def preamble_of(sealed: bytes | None) -> Preamble:
    assert sealed is not None
    return Preamble.decode(read_preamble_text(sealed[:736]))


class BoundSealsTests(ServerTestCase):
    async def assertRefused(self, manager: BlobManager, blob_id: str, namespace: str = "") -> None:
        """It does not verify: it counts as such, and nothing of it is here."""
        with self.assertRaises(MaximumRetriesError) as caught:
            await manager.get(blob_id, namespace)
        self.assertIsInstance(caught.exception.__cause__, InvalidBlob)
        self.assertIn("another user or namespace", str(caught.exception))
        self.assertIs(await status_of(manager, blob_id, namespace), SyncStatus.FAILED_DOWNLOAD)
        self.assertEqual(await manager.local_list(namespace), [])

    def swap(self, one: BlobName, other: BlobName) -> None:
        """Have the server exchange two blobs."""
        stored = [tampering.read(self.data, name) or b"" for name in (one, other)]
        tampering.replace(self.data, one, stored[1])
        tampering.replace(self.data, other, stored[0])

    async def test_each_seal_says_where_it_belongs(self) -> None:
        laptop, seals = self.manager(), Seals(SECRET, USER)
        for namespace in ("", "mail"):
            await put(laptop, "x", b"data", namespace)
            sealed = self.on_server("x", namespace or "default")
            self.assertEqual(preamble_of(sealed).binding, seals.binding(namespace))

    async def test_one_that_is_sealed_when_it_is_first_sent_says_it_too(self) -> None:
        laptop, pending = self.manager(), SyncStatus.PENDING_UPLOAD
        assert laptop.local is not None
        await laptop.local.put("x", io.BytesIO(b"data"), 4, "mail", pending)
        await laptop.sync("mail")
        binding = preamble_of(self.on_server("x", "mail")).binding
        self.assertEqual(binding, Seals(SECRET, USER).binding("mail"))

    async def test_swapped_between_namespaces(self) -> None:
        laptop = self.manager()
        for number, size in enumerate(SIZES):
            for namespace in ("", "mail"):
                await put(laptop, f"x{number}", content(size, namespace), namespace)
            blob_id = f"x{number}"
            self.swap(BlobName(USER, "default", blob_id), BlobName(USER, "mail", blob_id))
        for namespace in ("", "mail"):
            phone = self.manager(f"phone{namespace}")
            for number in range(len(SIZES)):
                await self.assertRefused(phone, f"x{number}", namespace)

    async def test_swapped_between_users_with_one_secret(self) -> None:
        bob: dict[str, Any] = {"user": "bob", "token": TokenFile(self.tokens).add("bob")}
        await put(self.manager(), "x", b"of alice")
        await put(self.manager(**bob), "x", b"of bob")
        self.swap(BlobName(USER, "default", "x"), BlobName("bob", "default", "x"))
        await self.assertRefused(self.manager("phone"), "x")
        await self.assertRefused(self.manager("phone", **bob), "x")

    async def test_a_sync_leaves_it_behind_and_fetches_the_others(self) -> None:
        laptop = self.manager()
        for blob_id in ("a", "b", "c"):
            await put(laptop, blob_id, blob_id.encode())
            await put(laptop, blob_id, blob_id.encode(), "mail")
        self.swap(BlobName(USER, "default", "b"), BlobName(USER, "mail", "b"))
        phone = self.manager("phone")
        with self.assertRaises(MaximumRetriesError) as caught:
            await phone.sync("mail")
        result = caught.exception.result
        self.assertEqual((result.fetched, [it.blob_id for it in result.left]), (2, ["b"]))
        self.assertEqual(sorted(await phone.local_list("mail")), ["a", "c"])

    async def test_verified_in_depth(self) -> None:
        laptop = self.manager()
        for namespace in ("", "mail"):
            await put(laptop, "x", b"the same", namespace)
        self.assertTrue(await laptop.verify("x", "mail", deep=True))
        mine, other = self.on_server("x", "mail") or b"", self.on_server("x") or b""
        # The tag is what it says of the blob before it serves it.
        self.replace_on_server("x", other[:-16] + mine[-16:], "mail")
        with self.assertRaises(InvalidBlob) as caught:
            await laptop.verify("x", "mail", deep=True)
        self.assertIn("another user or namespace", str(caught.exception))
        self.assertIs(await status_of(laptop, "x", "mail"), SyncStatus.SYNCED)

    async def test_a_copy_from_another_namespace_is_another_blob(self) -> None:
        # Sent to a server that has one of that id, with the same content.
        laptop = self.manager()
        await put(laptop, "x", b"the same")
        await self.put_on_server("x", self.on_server("x") or b"", "mail")
        await laptop.put(doc(b"the same", "x"), 8, "mail", local_only=True)
        assert laptop.local is not None
        payload = await laptop.local.open_payload("x", "mail")
        assert payload is not None
        remote = engine_of(laptop).need_remote()
        self.assertIsNone(await remote.compare("x", payload, "mail"))
        self.assertIsNotNone(await remote.compare("x", payload))

    async def test_nothing_is_sent_that_would_not_open_there(self) -> None:
        # The store was renamed along with its user.
        alone = self.manager(remote=None)
        for number in range(3):
            with self.assertRaises(NotConfiguredError):
                await put(alone, f"x{number}", b"data")
        await alone.close()
        folder = os.path.join(self.folder, "laptop")
        for name in os.listdir(folder):
            os.rename(os.path.join(folder, name), os.path.join(folder, name.replace(USER, "bob")))
        bob = self.manager(user="bob", token=TokenFile(self.tokens).add("bob"))
        with self.assertRaises(InvalidBlob) as caught:
            await bob.sync()
        self.assertIn("another user or namespace", str(caught.exception))
        self.assertEqual(await bob.remote_list(), [])
        self.assertEqual(sorted(await bob.local_list()), ["x0", "x1", "x2"])


class BoundSealsInStreamsTests(BoundSealsTests):
    streams = True


class UnboundTests(ServerTestCase):
    async def test_the_bytes_are_those_of_soledad(self) -> None:
        await put(self.manager(bind=False), "x", b"data", "mail")
        sealed = self.on_server("x", "mail")
        preamble = preamble_of(sealed)
        self.assertIsNone(preamble.binding)
        plain = Preamble.for_blob("x", 4, preamble.iv, preamble.timestamp)
        sealer = Seals(SECRET, USER).sealer(plain.encode(), 4)
        self.assertEqual(sealed, sealer.header() + sealer.seal(b"data"))

    async def test_what_says_where_it_belongs_opens_there_all_the_same(self) -> None:
        await put(self.manager(), "x", b"data", "mail")
        phone = self.manager("phone", bind=False)
        self.assertEqual((await phone.get("x", "mail")).read(), b"data")
        await self.put_on_server("x", self.on_server("x", "mail") or b"")
        with self.assertRaises(MaximumRetriesError):
            await phone.get("x")

    async def test_what_soledad_sealed_opens(self) -> None:
        vector = next(vector for vector in BLOBS if vector.sealed)
        for namespace in ("default", "mail"):
            await self.put_on_server(vector.blob_id, sealed_bytes(vector), namespace)
        phone = self.manager("phone", secret=VECTOR_SECRET)
        for namespace in ("", "mail"):
            self.assertEqual((await phone.get(vector.blob_id, namespace)).read(), vector.cleartext)

    def test_a_wrong_argument(self) -> None:
        for wrong in (None, 1, "yes"):
            error = self.assertRaises(TypeError, self.manager, bind=wrong)
            self.assertIn("bind", str(error))
