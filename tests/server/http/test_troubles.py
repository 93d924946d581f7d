"""What the server says when its own files are not as they should be."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase, TestCase

from blobman.server import disk
from blobman.server.accounts.quotas import QuotaFile
from blobman.server.http.health import CHECK_EVERY, HealthResource
from blobman.server.memory import MemoryBackend

from ..blobs import sealed
from ..serving import Answer, ServerMixin


class RefusalTests(ServerMixin, TestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        await self.start_server()
        self.quotas = Path(self.root, ".blobman", "quotas.json")

    async def refuse_both(self) -> list[Answer]:
        """Put a small blob and a large one; both are refused for the time being."""
        answers = [
            await self.expect(503, "PUT", f"blobs/alice/{size}", sealed(size=size))
            for size in (800, 200_000)
        ]
        for answer in answers:
            self.assertTrue(answer.header("Retry-After"))
        # No path, no traceback.
        self.assertEqual([it.body.count(b"\n") for it in answers], [1, 1])
        self.assertEqual([it for it in answers if b"/" in it.body], [])
        self.assertEqual(self.flushLoggedErrors(), [])
        return answers

    async def test_a_damaged_quota_file(self) -> None:
        self.quotas.write_text("damaged")
        lines: list[str] = []
        self.patch(Logger, "error", lambda _, text, **fields: lines.append(text.format(**fields)))
        await self.refuse_both()
        self.assertEqual(len(lines), 2)
        self.assertIn("the quota file is damaged", lines[0])
        await self.expect(200, "GET", "blobs/alice/")
        self.quotas.unlink()
        await self.expect(200, "PUT", "blobs/alice/800", sealed())

    async def test_a_quota_file_that_can_not_be_read(self) -> None:
        self.quotas.mkdir()
        await self.refuse_both()

    async def test_too_many_open_files(self) -> None:
        def fail(path: str) -> int:
            raise OSError(errno.EMFILE, "too many open files", path)

        self.patch(disk, "create", fail)
        await self.refuse_both()

    async def test_a_token_folder_that_can_not_be_reached(self) -> None:
        folder = os.path.dirname(self.tokens.path)
        self.tokens.path = os.path.join(self.tokens.path, "below", "a file")
        answer = await self.expect(503, "GET", "blobs/alice/")
        self.assertTrue(answer.header("Retry-After"))
        self.assertNotIn(folder.encode(), answer.body)


class HealthTests(ServerMixin, TestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        await self.start_server()
        self.staging = os.path.join(self.root, ".blobman", "staging")

    async def test_nothing_else_is_there(self) -> None:
        await self.expect(200, "GET", "health")
        await self.expect(404, "GET", "health/anything")
        await self.expect(404, "GET", "health/a/b")

    async def test_a_folder_that_can_not_be_written(self) -> None:
        os.rename(self.staging, self.staging + "-away")
        answer = await self.expect(503, "GET", "health")
        self.assertNotIn(b"/", answer.body)

    async def test_it_leaves_nothing_behind(self) -> None:
        await self.expect(200, "GET", "health")
        self.assertEqual(os.listdir(self.staging), [])


class HealthClockTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.backend, self.clock, self.checks = MemoryBackend(), Clock(), 0
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


class QuotaFileTests(TestCase):
    def test_through_a_symbolic_link(self) -> None:
        folder = self.mktemp()
        os.mkdir(folder)
        os.mkdir(os.path.join(folder, "elsewhere"))
        os.symlink("elsewhere/real", os.path.join(folder, "quotas"))
        QuotaFile(os.path.join(folder, "quotas")).set("alice", 1)
        QuotaFile(os.path.join(folder, "elsewhere", "real")).set("bob", 2)
        quotas = QuotaFile(os.path.join(folder, "quotas")).read()
        self.assertEqual(quotas.users, {"alice": 1, "bob": 2})
        self.assertTrue(os.path.islink(os.path.join(folder, "quotas")))

    async def test_no_change_is_lost(self) -> None:
        folder = self.mktemp()
        os.mkdir(folder)
        files = [QuotaFile(os.path.join(folder, "quotas")) for _ in range(8)]
        users = {
            f"user-{number}-{turn}": it for number, it in enumerate(files) for turn in range(5)
        }
        await gatherResults([deferToThread(it.set, user, 1) for user, it in users.items()])
        result = QuotaFile(os.path.join(folder, "quotas"))
        self.assertEqual({result.get(user) for user in users}, {1})
