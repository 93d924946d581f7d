"""A disk that fails for a moment: nothing is lost, and all goes on without a restart."""

from __future__ import annotations

import os
import random
import re
import secrets

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from blobman.server.storage.backend import Backend
from blobman.server.storage.interface import UnavailableError

from ..blobs import name, query, sealed
from .truth import check_files, listed, opened, read
from .volatile import VolatileDisk

SMALL, LARGE = 800, 400_000


class FailingDiskTests(TestCase):
    def setUp(self) -> None:
        mounted = os.path.abspath(self.mktemp())
        os.mkdir(mounted)
        self.root = os.path.join(mounted, "data")
        self.disk = VolatileDisk(mounted, random.Random(self.id()))
        self.disk.install(self)

    def fail_to_sync(self, pattern: str, times: int = 1) -> None:
        """Have it fail to sync files or folders whose paths match for so many times."""
        left = iter(range(times))

        def fails(path: str) -> bool:
            return re.search(pattern, path) is not None and next(left, None) is not None

        self.disk.failing = fails

    async def put(self, backend: Backend, blob_id: str, size: int = SMALL) -> None:
        upload = await backend.receive(name(blob_id), size)
        try:
            await upload.write([sealed(blob_id, size)])
            await upload.publish()
        except BaseException:
            await upload.discard()
            raise

    async def refuse(self, backend: Backend, blob_id: str, size: int = SMALL) -> None:
        putting = Deferred.fromCoroutine(self.put(backend, blob_id, size))
        await self.assertFailure(putting, UnavailableError)

    async def check(self, backend: Backend, blobs: dict[str, int]) -> None:
        there = await listed(backend, "alice", query())
        self.assertEqual(there, sorted(blobs))
        for blob_id, size in blobs.items():
            self.assertEqual(await read(backend, name(blob_id)), sealed(blob_id, size))

    async def check_after_power_cut(self, blobs: dict[str, int]) -> None:
        self.disk.restore_power(loses_all=True)
        async with opened(self.root) as backend:
            await self.check(backend, blobs)
            await backend.janitor.clean()
        check_files(self.root)

    async def test_the_log_can_not_be_synced(self) -> None:
        async with opened(self.root) as backend:
            await self.put(backend, "before")
            self.fail_to_sync("-wal$")
            await self.refuse(backend, "a")
            await self.check(backend, {"before": SMALL})
            await self.put(backend, "a")
            history = await backend.catalogue.history("alice", "default")
            self.assertEqual(history.number, 2)
            # So does what looks after its health.
            self.fail_to_sync("-wal$")
            await self.assertFailure(backend.check_writing(), UnavailableError)
            await backend.check_writing()
        await self.check_after_power_cut({"a": SMALL, "before": SMALL})

    async def test_the_log_can_not_be_synced_as_the_power_fails(self) -> None:
        """It may be there, or not."""
        async with opened(self.root) as backend:
            await self.put(backend, "before")
            self.fail_to_sync("-wal$", times=1000)
            await self.refuse(backend, "a")
        self.disk.failing = lambda _: False
        await self.check_after_power_cut({"before": SMALL})

    async def test_the_file_can_not_be_synced(self) -> None:
        """Nothing is lost when what is in the log can't be moved; it is moved later."""
        blobs = {str(number): SMALL for number in range(20)}
        async with opened(self.root) as backend:
            for blob_id in blobs:
                await self.put(backend, blob_id)
            self.fail_to_sync("sqlite$")
        async with opened(self.root) as backend:
            await self.put(backend, "more")
        await self.check_after_power_cut({**blobs, "more": SMALL})

    async def test_a_payload_can_not_be_synced(self) -> None:
        """The file, its folder, and the folder of that: each of them is needed."""
        patterns = "payloads/../[^/]*$", "payloads/..$", "payloads$"
        for number, pattern in enumerate(patterns):
            async with opened(self.root) as backend:
                self.fail_to_sync(pattern)
                await self.refuse(backend, "large", LARGE)
                self.assertEqual(await listed(backend, "alice", query()), [])
                await self.put(backend, f"other{number}", LARGE)
                await backend.delete(name(f"other{number}"))
        async with opened(self.root) as backend:
            await self.put(backend, "large", LARGE)
        await self.check_after_power_cut({"large": LARGE})

    async def test_a_folder_that_could_not_be_synced_is_not_relied_on(self) -> None:
        """It is there, but only until the power fails."""
        self.patch(secrets, "token_hex", _Keys())
        async with opened(self.root) as backend:
            self.fail_to_sync("payloads$")
            await self.refuse(backend, "large", LARGE)
            await self.put(backend, "large", LARGE)
        await self.check_after_power_cut({"large": LARGE})


class _Keys:
    """Keys that begin all alike, as they do now and then."""

    def __init__(self) -> None:
        self._last = 0

    def __call__(self, size: int) -> str:
        self._last += 1
        return f"{self._last:0{2 * size}}"
