"""
Any file of a data folder, damaged in any way: the right answer, or an error that says so.

``BLOBMAN_TEST_DAMAGES`` says how many are tried of a folder that was closed, of one whose server
was killed, and under a server. They are drawn from a seed, so that two runs try the same.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Awaitable
from typing import TypeVar

from twisted.trial.unittest import TestCase

from blobman.errors import StoreError
from blobman.model import Flags
from blobman.protocol import ListQuery
from blobman.server.storage.backend import Backend
from blobman.server.storage.interface import BlobName, DamagedError

from ..blobs import sealed
from .truth import NAMESPACES, USERS, listed, opened, read

DAMAGES = int(os.environ.get("BLOBMAN_TEST_DAMAGES", "20"))
SEED = os.environ.get("BLOBMAN_TEST_SEED", "1")

SIZES = (800, 9_000, 9_001, 100_000, 150_000, 600_000)
FLAGS: tuple[tuple[Flags, ...], ...] = ((), (Flags.FAILED,), tuple(Flags)) * 2

T = TypeVar("T")


class DamageTests(TestCase):
    timeout = 900 + 2 * DAMAGES

    async def setUp(self) -> None:  # type: ignore[override]
        self.chance = random.Random(SEED)
        self.sound, self.crashed, self.copy = (os.path.abspath(self.mktemp()) for _ in range(3))
        self.blobs: dict[BlobName, tuple[int, tuple[Flags, ...]]] = {}
        self.deleted: set[BlobName] = set()
        async with opened(self.sound) as backend:
            for user in USERS:
                for namespace in NAMESPACES:
                    await self.fill(backend, user, namespace)
            shutil.copytree(self.sound, self.crashed)

    async def fill(self, backend: Backend, user: str, namespace: str) -> None:
        for number, (size, flags) in enumerate(zip(SIZES, FLAGS, strict=True)):
            name = BlobName(user, namespace, f"b{number}")
            upload = await backend.receive(name, size)
            await upload.write([sealed(str(name), size)])
            await upload.publish(flags)
            self.blobs[name] = size, flags
        gone = BlobName(user, namespace, "gone")
        await backend.store([(gone, sealed())])
        await backend.delete(gone)
        self.deleted.add(gone)

    # -- damaging ----------------------------------------------------------------------

    def files(self) -> list[str]:
        """Everything that can be damaged, larger and smaller files alike."""
        found = [
            os.path.join(folder, file)
            for folder, _, files in os.walk(self.copy)
            for file in files
            if not file.endswith("-shm") and os.path.getsize(os.path.join(folder, file))
        ]
        return sorted(found, key=lambda path: (os.path.getsize(path), os.path.basename(path)))

    def damage(self) -> str:
        """Damage some file, and say how."""
        files = self.files()
        if self.chance.random() < 0.6:
            files = [path for path in files if "catalogue" in path]
        path = self.chance.choice(files)
        size = os.path.getsize(path)
        kind = self.chance.choice(("flip", "flip", "flip", "cut", "zero", "empty", "remove"))
        at = self.chance.randrange(size)
        if kind == "remove":
            os.unlink(path)
        elif kind in ("cut", "empty"):
            os.truncate(path, at if kind == "cut" else 0)
        else:
            with open(path, "r+b") as file:
                file.seek(at)
                (byte,) = file.read(1)
                file.seek(at)
                flipped = bytes([byte ^ 1 << self.chance.randrange(8)])
                file.write(flipped if kind == "flip" else bytes(4096)[: size - at])
        return f"{kind} {os.path.relpath(path, self.copy)} at {at} of {size}"

    # -- checking ----------------------------------------------------------------------

    async def attempt(self, asking: Awaitable[T]) -> T | None:
        """Ask for something; None if the answer is that it is damaged."""
        try:
            return await asking
        except DamagedError:
            return None

    async def check(self) -> int:
        """
        Ask for everything.

        :return: how many of the blobs were right. The others are said to be damaged.
        """
        try:
            async with opened(self.copy) as backend:
                return await self.check_all(backend)
        except StoreError:
            return 0

    async def check_all(self, backend: Backend) -> int:
        for user in USERS:
            for namespace in NAMESPACES:
                await self.check_lists(backend, user, namespace)
        return sum([await self.is_right(backend, name) for name in self.blobs])

    async def check_lists(self, backend: Backend, user: str, namespace: str) -> None:
        for query, expected in (
            (ListQuery(namespace=namespace), self.blobs),
            (ListQuery(namespace=namespace, deleted=True), self.deleted),
            (ListQuery(namespace=namespace, order_by="date"), self.blobs),
            (
                ListQuery(namespace=namespace, flag=Flags.FAILED),
                [it for it, (_, flags) in self.blobs.items() if Flags.FAILED in flags],
            ),
        ):
            ids = await self.attempt(listed(backend, user, query))
            mine = [it.blob_id for it in expected if it[:2] == (user, namespace)]
            self.assertIn(ids, (None, mine))

    async def is_right(self, backend: Backend, name: BlobName) -> bool:
        size, flags = self.blobs[name]
        try:
            content, told = await read(backend, name), await backend.get_flags(name)
        except DamagedError:
            return False
        self.assertIsNotNone(content, f"{name} is not there")
        self.assertTrue(content == sealed(str(name), size), f"wrong bytes of {name}")
        self.assertEqual(told, list(flags))
        return True

    async def try_damages(self, folder: str) -> None:
        served = noticed = 0
        for _ in range(DAMAGES):
            shutil.rmtree(self.copy, ignore_errors=True)
            shutil.copytree(folder, self.copy)
            what = self.damage()
            try:
                right = await self.check()
            except Exception as error:
                raise self.failureException(f"{what}: {error!r}") from error
            served += right > 0
            noticed += right < len(self.blobs)
        self.assertGreater(served, DAMAGES // 10)
        self.assertGreater(noticed, DAMAGES // 10)

    async def test_of_a_server_that_was_closed(self) -> None:
        await self.try_damages(self.sound)

    async def test_of_a_server_that_was_killed(self) -> None:
        await self.try_damages(self.crashed)

    async def test_under_a_server(self) -> None:
        for _ in range(DAMAGES):
            shutil.rmtree(self.copy, ignore_errors=True)
            shutil.copytree(self.crashed, self.copy)
            async with opened(self.copy) as backend:
                what = self.damage()
                try:
                    await self.check_all(backend)
                except StoreError:
                    self.assertIn("catalogue", what)
                except Exception as error:
                    raise self.failureException(f"{what}: {error!r}") from error
            # What it has written since did not make it worse.
            await self.check()
