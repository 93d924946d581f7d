"""
A server in a process of its own: a blob that is larger than the memory that it may take.

``BLOBMAN_LONG=1`` makes it a gigabyte.
"""

from __future__ import annotations

from typing import Any

from blobman.server.storage.payloads.s3.writing import WHOLE

from ...objectstore import environment, object_store, url_of
from ...processes import ServerProcess
from ...running.test_processes import LONG, ProcessCase, Zeros

SIZE = 1_000_000_000 if LONG else 200_000_000

MORE = 64 * 2**20
"""Bytes that a server may take beside those that it has when it is idle."""


class MemoryTests(ProcessCase):
    async def start(self, **options: Any) -> ServerProcess:
        self.store = object_store()
        environment(self, **self.store.credentials())
        bucket = self.store.private_bucket() if options.pop("is_private") else self.store.bucket()
        return await super().start(payloads=url_of(bucket), **options)

    async def up_and_down(self, is_private: bool) -> None:
        self.assertLess(SIZE, WHOLE)
        server = await self.start(is_private=is_private)
        # What is loaded when it is first needed is there by then.
        self.assertEqual((await self.ask("PUT", "blobs/alice/first", Zeros(2_000_000)))[0], 200)
        self.assertEqual(await self.ask("GET", "blobs/alice/first"), (200, 2_000_000))
        before = server.peak_memory()
        self.assertEqual((await self.ask("PUT", "blobs/alice/a", Zeros(SIZE)))[0], 200)
        self.assertEqual(await self.ask("GET", "blobs/alice/a"), (200, SIZE))
        more = server.peak_memory() - before
        if LONG:
            print(f"{more / 2**20:.0f} MiB more than {before / 2**20:.0f} MiB")
        self.assertLess(more, MORE)

    async def test_memory_does_not_grow_with_a_blob(self) -> None:
        await self.up_and_down(is_private=False)

    async def test_nor_over_tls(self) -> None:
        await self.up_and_down(is_private=True)
