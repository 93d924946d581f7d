"""What a transfer held is free when it has ended, without the help of the garbage collector."""

from __future__ import annotations

import gc
from collections import Counter

from twisted.internet.defer import gatherResults

from blobman.crypto import Opener, Sealer
from blobman.local.payload_rows import Payload
from blobman.local.staging import StagedBlob
from blobman.local.store import StoredPayload
from blobman.remote.bodies import SealedBody, SealedStream
from blobman.transfers.bundles import Bundle
from blobman.transfers.transfer import Transfer

from .support import ServerTestCase, content, doc

HELD = (
    Bundle,
    Opener,
    Payload,
    SealedBody,
    SealedStream,
    Sealer,
    StagedBlob,
    StoredPayload,
    Transfer,
)
"""What holds content, or something that does."""


def alive() -> list[object]:
    """Give what is there, collected or not."""
    return [it for it in gc.get_objects() if type(it) in HELD]


class GarbageTests(ServerTestCase):
    sizes = (0, 5_000, 300_000, 3_000_000)

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        # Other tests may have left something in frames and threads.
        self.others = alive()

    def held(self) -> Counter[str]:
        """Count what this test has made, and what is there still."""
        others = {id(it) for it in self.others}
        return Counter(type(it).__name__ for it in alive() if id(it) not in others)

    async def settle(self) -> None:
        """Let threads and connections let go of what they had last."""
        for _ in range(50):
            if not self.held():
                return
            await self.laptop.local_list()
            await self.laptop.count()

    async def test_uploads_and_downloads(self) -> None:
        self.laptop = self.manager()
        phone = self.manager("phone")
        self.assertEqual(self.held(), Counter())
        puts = [
            self.laptop.put(doc(content(size), f"b{number}-{size}"), size)
            for number in range(3)
            for size in self.sizes
        ]
        await gatherResults(puts)
        await self.settle()
        self.assertEqual(self.held(), Counter())
        await phone.sync()
        await self.settle()
        self.assertEqual(self.held(), Counter())


class GarbageInStreamsTests(GarbageTests):
    streams = True


class GarbageOverTLSTests(GarbageTests):
    tls = True
