"""What docs/security.md says that a server can do, and what it can't."""

from __future__ import annotations

import os
import shutil

from blobman import MaximumRetriesError
from blobman.crypto import Preamble, Scheme
from blobman.crypto.preamble import DELIVERED, INCOMING_REV, Method, write_preamble_text

from ..support import ServerTestCase, doc


class HostileServerTests(ServerTestCase):
    async def put(self, blob_id: str, content: bytes, namespace: str = "") -> None:
        await self.manager().put(doc(content, blob_id), len(content), namespace)

    async def get(self, blob_id: str, namespace: str = "") -> tuple[bytes, bool]:
        """Get a blob on a machine that does not have it."""
        blob = await self.manager(self.mktemp()).get(blob_id, namespace)
        return blob.read(), blob.external

    async def test_an_older_blob_of_the_same_id(self) -> None:
        await self.put("letter", b"first")
        file = self.server_file("letter")
        shutil.copy(file, self.path_of("kept"))
        await self.manager().delete("letter")
        await self.put("letter", b"second")
        shutil.copy(self.path_of("kept"), file)
        self.assertEqual(await self.get("letter"), (b"first", False))

    async def test_a_blob_of_another_namespace(self) -> None:
        await self.put("letter", b"private")
        await self.put("letter", b"public", "public")
        shutil.copy(self.server_file("letter"), self.server_file("letter", "public"))
        self.assertEqual(await self.get("letter", "public"), (b"private", False))

    async def test_a_blob_of_another_id(self) -> None:
        await self.put("letter", b"first")
        await self.put("answer", b"second")
        shutil.copy(self.server_file("letter"), self.server_file("answer"))
        with self.assertRaises(MaximumRetriesError):
            await self.get("answer")

    async def test_an_external_blob(self) -> None:
        await self.put("letter", b"mine")
        preamble = Preamble(Scheme.EXTERNAL, Method.PGP, 0, bytes(16), "letter", INCOMING_REV, 4)
        self.assertEqual(preamble.kind, DELIVERED)
        forged = write_preamble_text(preamble.encode()) + b" fake"
        with open(self.server_file("letter"), "wb") as file:
            file.write(forged)
        self.assertEqual(await self.get("letter"), (b"fake", True))

    def path_of(self, name: str) -> str:
        return os.path.join(self.folder, name)
