"""A data folder, or a part of it, that is moved away under a server: 503, until it is back."""

from __future__ import annotations

import os
import shutil
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from blobman.errors import StoreError
from blobman.server.storage.backend import Backend
from blobman.server.storage.interface import UnavailableError

from ..blobs import name, query, sealed
from .truth import check_files, listed, opened, read

SIZES = {"small": 800, "large": 400_000}


class VanishedTests(TestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        self.root, self.other = (os.path.abspath(self.mktemp()) for _ in range(2))
        async with opened(self.other) as backend:
            for blob_id in (*SIZES, "more"):
                await self.put(backend, blob_id, 200_000)

    async def put(self, backend: Backend, blob_id: str, size: int) -> None:
        upload = await backend.receive(name(blob_id), size)
        try:
            await upload.write([sealed(blob_id, size)])
            await upload.publish()
        except BaseException:
            await upload.discard()
            raise

    def move_away(self, part: str, replacement: str) -> None:
        """Move a part of the folder away, and put something else there."""
        place = os.path.normpath(os.path.join(self.root, part))
        os.rename(place, place + "-away")
        if replacement == "empty":
            os.mkdir(place)
        elif replacement == "another":
            shutil.copytree(os.path.join(self.other, part), place)

    def put_back(self, part: str) -> None:
        place = os.path.normpath(os.path.join(self.root, part))
        shutil.rmtree(place, ignore_errors=True)
        os.rename(place + "-away", place)

    async def refuse(self, *works: Deferred[Any]) -> None:
        for work in works:
            await self.assertFailure(work, UnavailableError)

    async def check_all(self, backend: Backend) -> None:
        self.assertEqual(await listed(backend, "alice", query()), sorted(SIZES))
        for blob_id, size in SIZES.items():
            self.assertEqual(await read(backend, name(blob_id)), sealed(blob_id, size))

    async def test_all_of_it(self) -> None:
        async with opened(self.root) as backend:
            for blob_id, size in SIZES.items():
                await self.put(backend, blob_id, size)
            for part in ("", ".blobman"):
                for replacement in ("nothing", "empty", "another"):
                    self.move_away(part, replacement)
                    await self.refuse_all(backend)
                    self.put_back(part)
                    await self.check_all(backend)

    async def refuse_all(self, backend: Backend) -> None:
        await self.refuse(Deferred.fromCoroutine(listed(backend, "alice", query())))
        await self.refuse(backend.count("alice", query()), backend.check_writing())
        for blob_id in (*SIZES, "missing"):
            await self.refuse(
                backend.read(name(blob_id)),
                backend.delete(name(blob_id)),
                backend.get_flags(name(blob_id)),
                backend.set_flags(name(blob_id), []),
            )
        for size in SIZES.values():
            await self.refuse(Deferred.fromCoroutine(self.put(backend, "new", size)))

    async def test_the_payloads(self) -> None:
        """They may be a file system of their own. What is in the catalogue is served."""
        part = os.path.join(".blobman", "payloads")
        async with opened(self.root) as backend:
            for blob_id, size in SIZES.items():
                await self.put(backend, blob_id, size)
            for replacement in ("nothing", "empty", "another"):
                self.move_away(part, replacement)
                await self.refuse(
                    backend.read(name("large")),
                    backend.check_writing(),
                    Deferred.fromCoroutine(self.put(backend, "new", 400_000)),
                )
                self.assertEqual(await read(backend, name("small")), sealed("small"))
                self.put_back(part)
                await self.check_all(backend)

    async def test_what_is_to_be_removed(self) -> None:
        """It is not forgotten because it is not there."""
        async with opened(self.root) as backend:
            upload = await backend.receive(name("large"), 400_000)
            await upload.write([sealed("large", 400_000)])
            self.move_away(os.path.join(".blobman", "payloads"), "another")
            await upload.discard()
            self.put_back(os.path.join(".blobman", "payloads"))
        async with opened(self.root) as backend:
            await backend.janitor.clean()
        check_files(self.root)

    async def test_while_it_is_written(self) -> None:
        async with opened(self.root) as backend:
            upload = await backend.receive(name("large"), 400_000)
            await upload.write([sealed("large", 400_000)])
            self.move_away("", "another")
            await self.refuse(upload.publish())
            self.put_back("")
            self.assertEqual(await listed(backend, "alice", query()), [])

    async def test_it_does_not_start_where_there_is_nothing_to_write(self) -> None:
        with open(self.root, "w"):
            pass
        await self.assertFailure(Deferred.fromCoroutine(self.open()), StoreError)

    async def open(self) -> None:
        async with opened(self.root):
            pass
