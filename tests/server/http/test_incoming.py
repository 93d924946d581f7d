"""Deliveries by trusted services."""

from __future__ import annotations

import base64
import json
import os
import struct
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.trial.unittest import SynchronousTestCase, TestCase

from blobman.model import Flags
from blobman.protocol import MAX_SEALED_SIZE
from blobman.server.accounts.file import FileAccounts
from blobman.server.accounts.tokens import TokenFile
from blobman.server.http.incoming import external_preamble
from blobman.server.running.sites import make_incoming_site

from ..blobs import Consumer, name
from ..serving import ServerMixin

VECTOR = Path(__file__).parent.parent.parent / "vectors" / "soledad-sealed-blobs.json"


class PreambleTests(SynchronousTestCase):
    def test_soledads_bytes(self) -> None:
        vector = json.loads(VECTOR.read_text())["external"]
        content = base64.b64decode(vector["content_base64"])
        stored = base64.b64decode(vector["stored_base64"])
        head, _, rest = stored.partition(b" ")
        fields = struct.unpack("<2sbb4xQ16s255p255p2xQ", base64.urlsafe_b64decode(head))
        made = external_preamble(vector["blob_id"], fields[3], fields[4], len(content))
        self.assertEqual(made, head + b" ")
        self.assertEqual(rest, content)


class IncomingTests(ServerMixin, TestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        await self.start_server()
        services = TokenFile(os.path.join(self.root, "services"))
        self.mx = services.add("mx")
        self.users_port = self.port
        self.incoming = make_incoming_site(self.backend, FileAccounts(services))
        self.port = await serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(
            self.incoming
        )
        self.addCleanup(self.stop_incoming, self.port)

    async def stop_incoming(self, port: object) -> None:
        await self.port.stopListening()
        await self.incoming.end_connections(0.0)
        self.port = self.users_port

    async def test_delivered(self) -> None:
        for content in (b"-----BEGIN PGP MESSAGE-----", b"", bytes(300_000)):
            blob_id = f"mail-{len(content)}"
            await self.expect(
                200, "PUT", f"incoming/alice/{blob_id}", content, user="mx", token=self.mx
            )
            blob = name(blob_id, namespace="MX")
            stored = await self.backend.read(blob)
            consumer = Consumer()
            await stored.write_to(consumer, 737)
            self.assertEqual(consumer.content, content)
            stored.close()
            self.assertEqual(await self.backend.get_flags(blob), [Flags.PENDING])

    async def test_refused(self) -> None:
        mx = {"user": "mx", "token": self.mx}
        await self.expect(200, "PUT", "incoming/alice/a", b"mail", **mx)
        await self.expect(409, "PUT", "incoming/alice/a", b"mail", **mx)
        await self.expect(401, "PUT", "incoming/alice/b", b"mail")
        await self.expect(401, "PUT", "incoming/alice/b", b"mail", user="mx", token=self.alice)
        await self.expect(400, "PUT", "incoming/alice/b.c", b"mail", **mx)
        await self.expect(400, "PUT", "incoming/%2e%2e/b", b"mail", **mx)
        await self.expect(405, "GET", "incoming/alice/a", **mx)
        await self.expect(404, "GET", "blobs/alice/", **mx)
        await self.backend.catalogue.set_quota("alice", 1000)
        await self.expect(507, "PUT", "incoming/alice/c", b"mail", **mx)

    async def test_lengths_that_no_blob_can_have(self) -> None:
        for length in (MAX_SEALED_SIZE + 1, 2**63, 10**20 - 1):
            line = await self.announce(length, "incoming/alice/a", "mx", self.mx)
            self.assertIn(b" 413 ", line)

    async def test_users_can_not_deliver(self) -> None:
        self.port, incoming = self.users_port, self.port
        try:
            await self.expect(404, "PUT", "incoming/alice/a", b"mail")
        finally:
            self.port = incoming
