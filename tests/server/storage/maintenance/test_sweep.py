"""A catalogue and the store of its payloads, held against each other."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import AsyncIterator
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from blobman.server.storage.backend import Backend
from blobman.server.storage.catalogue.sqlite import SQLiteCatalogue
from blobman.server.storage.interface import UnavailableError
from blobman.server.storage.maintenance.findings import Kind
from blobman.server.storage.maintenance.sweep import YOUNG, Sweep
from blobman.server.storage.payloads.folder import FolderPayloads
from blobman.server.storage.payloads.interface import IPayloads, Listed
from blobman.server.storage.payloads.s3 import listing
from blobman.server.storage.payloads.s3.client import Request
from blobman.server.storage.payloads.s3.parts import begin_parts
from blobman.testing.contracts.support import name, sealed

from ...objectstore import object_store, payloads
from .folders import LARGE, put


class SweepTests(TestCase):
    """Payloads in a folder that is apart."""

    async def setUp(self) -> None:  # type: ignore[override]
        self.own = self.mktemp()
        self.ahead = 2.0 * YOUNG
        self.make = self.make_store()
        await self.open()
        self.addCleanup(lambda: self.backend.close())

    def make_store(self) -> Any:
        root = self.mktemp()
        return lambda: FolderPayloads(root, is_apart=True)

    async def open(self) -> None:
        self.payloads: IPayloads = self.make()
        self.backend = Backend(SQLiteCatalogue(self.own), self.payloads, None)
        await self.backend.open()

    def sweep(self) -> Sweep:
        return Sweep(self.backend.catalogue, self.payloads, lambda: time.time() + self.ahead)

    async def found(self) -> list[tuple[Kind, str, str]]:
        return [
            (it.kind, it.path, it.name.blob_id if it.name else "")
            async for it in self.sweep().findings()
        ]

    async def write(self, content: bytes = b"stray") -> str:
        writer = await self.payloads.create(key := secrets.token_hex(16))
        await writer.write([content])
        await writer.commit()
        return key

    async def fill(self) -> None:
        for number in range(3):
            await put(self.backend, name(f"large-{number}"), sealed(str(number), LARGE))
        await put(self.backend, name("small"), sealed("small"))
        await self.backend.delete(name("large-0"))

    async def key_of(self, blob_id: str) -> str:
        (entry,) = await self.backend.catalogue.find([name(blob_id)], 1)
        assert entry is not None and entry.key is not None
        return entry.key

    async def test_all_is_well(self) -> None:
        await self.fill()
        upload = await self.backend.receive(name("coming"), LARGE)
        await upload.write([sealed("coming", LARGE)])
        sweep = self.sweep()
        self.assertEqual([it async for it in sweep.findings()], [])
        self.assertEqual(await sweep.remove(), 0)
        await upload.publish()
        self.assertEqual(await self.found(), [])

    async def test_what_is_missing_and_what_has_another_size(self) -> None:
        await self.fill()
        missing, other = [await self.key_of(f"large-{it}") for it in (1, 2)]
        await self.payloads.remove([missing, other])
        writer = await self.payloads.create(other)
        await writer.write([b"short"])
        await writer.commit()
        self.assertEqual(
            sorted(await self.found(), key=lambda it: it[2]),
            [(Kind.PAYLOAD, missing, "large-1"), (Kind.PAYLOAD, other, "large-2")],
        )

    async def test_what_has_other_bytes(self) -> None:
        """Only who reads them finds out."""
        await self.fill()
        upload = await self.backend.receive(name("little"))
        await upload.write([sealed("little")])
        await upload.publish()
        for blob_id, content in (("large-1", sealed("1", LARGE)), ("little", sealed("little"))):
            other = await self.key_of(blob_id)
            await self.payloads.remove([other])
            writer = await self.payloads.create(other)
            await writer.write([content[:-1] + b"?"])
            await writer.commit()
        self.assertEqual(await self.found(), [])
        now = time.time()
        deep = Sweep(self.backend.catalogue, self.payloads, lambda: now, self.backend.read)
        named = [it.name async for it in deep.findings()]
        self.assertEqual(named, [name("large-1"), name("little")])

    async def test_what_nobody_knows(self) -> None:
        await self.fill()
        stray = await self.write()
        self.ahead = YOUNG / 2
        self.assertEqual(await self.found(), [])
        self.ahead = 2.0 * YOUNG
        self.assertEqual(await self.found(), [(Kind.STRAY, stray, "")])
        sweep = self.sweep()
        self.assertEqual(len([it async for it in sweep.findings()]), 1)
        self.assertEqual(await sweep.remove(), 1)
        self.assertEqual(await self.found(), [])

    async def test_a_catalogue_that_was_put_back(self) -> None:
        await self.fill()
        await self.backend.close()
        shutil.copytree(self.own, self.own + "-copy")
        await self.open()
        await put(self.backend, name("later"), sealed("later", LARGE))
        later = await self.key_of("later")
        await self.backend.close()
        shutil.rmtree(self.own)
        os.rename(self.own + "-copy", self.own)
        await self.open()
        self.assertEqual(await self.found(), [(Kind.STRAY, later, "")])

    async def test_what_changes_meanwhile(self) -> None:
        """What is published, put or deleted while it is compared is neither missing nor a stray."""
        await self.fill()
        coming = await self.backend.receive(name("coming"), LARGE)
        await coming.write([sealed("coming", LARGE)])
        catalogue = self.backend.catalogue
        ask, steps = catalogue.payload_rows, iter(range(2))

        async def change() -> None:
            await coming.publish()
            await put(self.backend, name("new"), sealed("new", LARGE))
            await self.backend.delete(name("large-1"))

        def rows(*arguments: Any) -> Any:
            """Let it change before, and after, the catalogue is read."""
            asked = ask(*arguments)
            if next(steps, None) is None:
                return asked
            return asked.addCallback(
                lambda it: (
                    Deferred.fromCoroutine(change()).addCallback(lambda _: it)
                    if not self.has_changed()
                    else it
                )
            )

        self.changed = False
        self.patch(catalogue, "payload_rows", rows)
        sweep = self.sweep()
        self.assertEqual([it async for it in sweep.findings()], [])
        self.assertEqual(await sweep.remove(), 0)

    def has_changed(self) -> bool:
        before, self.changed = self.changed, True
        return before

    async def test_a_store_that_is_away(self) -> None:
        await self.fill()
        self.patch(self.payloads, "listed", self.away)
        await self.assertFailure(Deferred.fromCoroutine(self.found()), UnavailableError)

    async def away(self) -> AsyncIterator[list[Listed]]:
        yield []
        raise UnavailableError("away")


class S3SweepTests(SweepTests):
    """Payloads in an object store."""

    def make_store(self) -> Any:
        bucket = object_store().bucket()
        return lambda: payloads(bucket)

    async def test_what_has_been_begun(self) -> None:
        """By who was killed, and has no row."""
        client: Any = self.payloads._client  # type: ignore[attr-defined]
        await begin_parts(client, key := secrets.token_hex(16))
        self.assertEqual(await self.found(), [(Kind.STRAY, key, "")])
        sweep = self.sweep()
        self.assertEqual(len([it async for it in sweep.findings()]), 1)
        self.assertEqual(await sweep.remove(), 1)
        self.assertEqual(await self.found(), [])

    async def test_more_than_a_page(self) -> None:
        client: Any = self.payloads._client  # type: ignore[attr-defined]
        self.patch(listing, "PAGE", 3)
        for number in range(10):
            await client.ask(Request("put", "PUT", f"{number:032x}"), b"x")
        sweep = self.sweep()
        self.assertEqual(len([it async for it in sweep.findings()]), 10)
        self.assertEqual(await sweep.remove(), 10)
        self.assertEqual(await self.found(), [])
