"""What the server says when its own files are not as they should be."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from blobman.server.http.health import CHECK_EVERY, HealthResource

from ..blobs import open_memory_backend, sealed
from ..serving import ServerMixin


class RefusalTests(ServerMixin, TestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        await self.start_server()

    async def refuse(self, method: str, path: str, *body: bytes) -> None:
        """Ask for something that is refused for the time being."""
        answer = await self.expect(503, method, path, *body)
        self.assertTrue(answer.header("Retry-After"))
        # No path, no traceback.
        self.assertEqual(answer.body, b"the server can't do that at the moment\n")
        self.assertEqual(self.flushLoggedErrors(), [])

    async def test_too_many_open_files(self) -> None:
        real_open = os.open

        def fail(path: str, flags: int, *them: Any, **options: Any) -> int:
            if flags & os.O_CREAT:
                raise OSError(errno.EMFILE, "too many open files", path)
            return real_open(path, flags, *them, **options)

        patch = self.patch(os, "open", fail)
        await self.refuse("PUT", "blobs/alice/a", sealed(size=200_000))
        patch.restore()
        await self.expect(200, "PUT", "blobs/alice/a", sealed(size=200_000))

    async def test_a_folder_that_is_gone(self) -> None:
        await self.expect(200, "PUT", "blobs/alice/small", sealed())
        await self.expect(200, "PUT", "blobs/alice/large", sealed(size=200_000))
        for replacement in (None, "empty", "another"):
            os.rename(self.root, self.root + "-away")
            if replacement is not None:
                os.mkdir(self.root)
            if replacement == "another":
                os.mkdir(os.path.join(self.root, ".blobman"))
                Path(self.root, ".blobman", "catalogue.sqlite").touch()
            await self.refuse("GET", "blobs/alice/")
            await self.refuse("GET", "blobs/alice/?only_count=True")
            for blob_id in ("small", "large", "missing"):
                await self.refuse("GET", f"blobs/alice/{blob_id}")
                await self.refuse("GET", f"blobs/alice/{blob_id}?only_flags=True")
                await self.refuse("DELETE", f"blobs/alice/{blob_id}")
                await self.refuse("POST", f"blobs/alice/{blob_id}", b"[]")
            for size in (800, 200_000):
                await self.refuse("PUT", f"blobs/alice/new{size}", sealed(size=size))
            shutil.rmtree(self.root, ignore_errors=True)
            os.rename(self.root + "-away", self.root)
            answer = await self.expect(200, "GET", "blobs/alice/")
            self.assertEqual(answer.json(), ["large", "small"])

    async def test_a_token_folder_that_can_not_be_reached(self) -> None:
        folder = os.path.dirname(self.tokens.path)
        self.tokens.path = os.path.join(self.tokens.path, "below", "a file")
        answer = await self.expect(503, "GET", "blobs/alice/")
        self.assertTrue(answer.header("Retry-After"))
        self.assertNotIn(folder.encode(), answer.body)


class HealthTests(ServerMixin, TestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        await self.start_server()

    async def test_nothing_else_is_there(self) -> None:
        await self.expect(200, "GET", "health")
        await self.expect(404, "GET", "health/anything")
        await self.expect(404, "GET", "health/a/b")

    async def test_a_folder_that_is_gone(self) -> None:
        os.rename(self.root, self.root + "-away")
        answer = await self.expect(503, "GET", "health")
        self.assertEqual(answer.body, b"no blobs can be written: catalogue and payloads\n")
        os.rename(self.root + "-away", self.root)

    async def test_payloads_that_are_gone(self) -> None:
        payloads = os.path.join(self.root, ".blobman", "payloads")
        os.rename(payloads, payloads + "-away")
        answer = await self.expect(503, "GET", "health")
        self.assertEqual(answer.body, b"no blobs can be written: payloads\n")
        os.rename(payloads + "-away", payloads)

    async def test_it_leaves_nothing_behind(self) -> None:
        await self.expect(200, "GET", "health")
        self.assertEqual(os.listdir(os.path.join(self.root, ".blobman", "payloads")), [])


class HealthClockTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.backend, self.clock, self.checks = open_memory_backend(), Clock(), 0
        self.health = HealthResource(self.backend, self.clock)
        real = self.backend.check_writing

        def check() -> object:
            self.checks += 1
            return real()

        self.patch(self.backend, "check_writing", check)

    def ask(self) -> tuple[str, bytes]:
        return self.successResultOf(Deferred.fromCoroutine(self.health.read(b"GET")))

    def test_it_does_not_look_at_anybodys_blobs(self) -> None:
        for method in ("list", "count", "read", "get_flags"):
            self.patch(self.backend, method, lambda *_: self.fail("asked for blobs"))
        self.ask()

    def test_the_disk_is_tried_once_a_second(self) -> None:
        for _ in range(3):
            self.ask()
        self.assertEqual(self.checks, 1)
        self.clock.advance(CHECK_EVERY)
        self.ask()
        self.assertEqual(self.checks, 2)
