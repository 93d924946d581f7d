"""What docs/security.md says that a server can do, and what it can't."""

from __future__ import annotations

from typing import Any

from blobman import MaximumRetriesError
from blobman.crypto import Preamble, Scheme
from blobman.crypto.preamble import DELIVERED, INCOMING_REV, Method, write_preamble_text

from ..support import ServerTestCase, doc


class HostileServerTests(ServerTestCase):
    async def put(self, blob_id: str, content: bytes, namespace: str = "", **more: Any) -> None:
        await self.manager(**more).put(doc(content, blob_id), len(content), namespace)

    async def get(self, blob_id: str, namespace: str = "") -> tuple[bytes, bool]:
        """Get a blob on a machine that does not have it."""
        blob = await self.manager(self.mktemp()).get(blob_id, namespace)
        return blob.read(), blob.external

    def stored(self, blob_id: str) -> bytes:
        """What the server has."""
        found = self.on_server(blob_id)
        assert found is not None
        return found

    async def test_an_older_blob_of_the_same_id(self) -> None:
        await self.put("letter", b"first")
        kept = self.stored("letter")
        await self.manager().delete("letter")
        await self.put("letter", b"second")
        self.replace_on_server("letter", kept)
        self.assertEqual(await self.get("letter"), (b"first", False))

    async def test_a_blob_of_another_namespace(self) -> None:
        await self.put("letter", b"private")
        await self.put("letter", b"public", "public")
        self.replace_on_server("letter", self.stored("letter"), "public")
        with self.assertRaises(MaximumRetriesError):
            await self.get("letter", "public")

    async def test_a_blob_of_another_namespace_that_does_not_say_so(self) -> None:
        await self.put("letter", b"private", bind=False)
        await self.put("letter", b"public", "public")
        self.replace_on_server("letter", self.stored("letter"), "public")
        self.assertEqual(await self.get("letter", "public"), (b"private", False))

    async def test_a_blob_of_another_id(self) -> None:
        await self.put("letter", b"first")
        await self.put("answer", b"second")
        self.replace_on_server("answer", self.stored("letter"))
        with self.assertRaises(MaximumRetriesError):
            await self.get("answer")

    async def test_an_external_blob(self) -> None:
        await self.put("letter", b"mine")
        preamble = Preamble(Scheme.EXTERNAL, Method.PGP, 0, bytes(16), "letter", INCOMING_REV, 4)
        self.assertEqual(preamble.kind, DELIVERED)
        forged = write_preamble_text(preamble.encode()) + b" fake"
        self.replace_on_server("letter", forged)
        with self.assertRaises(MaximumRetriesError):
            await self.get("letter")
        phone = self.manager(self.mktemp(), external_namespaces=[""])
        with await phone.get("letter") as blob:
            self.assertEqual((blob.read(), blob.external), (b"fake", True))
