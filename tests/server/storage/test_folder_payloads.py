"""What is the folder's own: files, modes, and whether they can be relied on."""

from __future__ import annotations

import errno
import os
import random
import stat
import threading
from typing import Any

from twisted.internet.defer import CancelledError, gatherResults
from twisted.trial.unittest import TestCase

from blobman.errors import ClosedError
from blobman.server.storage.interface import DamagedError, UnavailableError
from blobman.server.storage.payloads import folder
from blobman.server.storage.payloads.folder import FolderPayloads


class FolderTests(TestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        self.root = os.path.abspath(self.mktemp())
        self.payloads = FolderPayloads(self.root)
        await self.payloads.open()
        self.addCleanup(lambda: self.payloads.close())
        self.chance = random.Random(1)

    def new_key(self) -> str:
        return self.chance.randbytes(16).hex()

    async def write(self, content: bytes = b"content") -> str:
        key = self.new_key()
        writer = await self.payloads.create(key)
        await writer.write([content])
        await writer.commit()
        return key

    async def read(self, key: str, end: int) -> bytes:
        payload = await self.payloads.get(key)
        try:
            return await payload.read(0, end)
        finally:
            payload.close()

    def path(self, key: str) -> str:
        return os.path.join(self.root, ".blobman", "payloads", key[:2], key)

    async def test_modes(self) -> None:
        key = await self.write()
        self.assertEqual(stat.S_IMODE(os.stat(self.path(key)).st_mode), 0o600)
        for above in (os.path.dirname(self.path(key)), os.path.join(self.root, ".blobman")):
            self.assertEqual(stat.S_IMODE(os.stat(above).st_mode), 0o700)

    async def test_a_file_where_it_was_adopted(self) -> None:
        os.makedirs(os.path.join(self.root, "alice", "default"))
        with open(os.path.join(self.root, "alice", "default", "a"), "wb") as file:
            file.write(b"adopted")
        self.assertEqual(await self.read("alice/default/a", 7), b"adopted")
        await self.payloads.remove(["alice/default/a"])
        await self.assertFailure(self.payloads.get("alice/default/a"), DamagedError)

    async def test_a_link_is_not_followed(self) -> None:
        key = await self.write()
        os.rename(self.path(key), self.path(key) + "-other")
        os.symlink(self.path(key) + "-other", self.path(key))
        await self.assertFailure(self.payloads.get(key), DamagedError)

    async def test_a_folder_that_is_gone(self) -> None:
        key = await self.write()
        os.rename(self.root, self.root + "-away")
        for replacement in (False, True):
            if replacement:
                os.mkdir(self.root)
            missing = self.new_key()
            await self.assertFailure(self.payloads.get(missing), UnavailableError)
            await self.assertFailure(self.payloads.create(missing), UnavailableError)
            await self.assertFailure(self.payloads.check_writing(), UnavailableError)
        self.assertEqual(os.listdir(self.root), [])
        os.rmdir(self.root)
        os.rename(self.root + "-away", self.root)
        self.assertEqual(await self.read(key, 7), b"content")

    async def test_one_that_goes_while_a_payload_is_written(self) -> None:
        writer = await self.payloads.create(self.new_key())
        os.rename(self.root, self.root + "-away")
        await writer.write([b"content"])
        await self.assertFailure(writer.commit(), UnavailableError)
        os.rename(self.root + "-away", self.root)

    async def test_the_disk_is_full(self) -> None:
        def fail(*_: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        writer = await self.payloads.create(self.new_key())
        patch = self.patch(os, "writev", fail)
        error: Any = await self.assertFailure(writer.write([b"content"]), UnavailableError)
        self.assertEqual(str(error), "the disk is full")
        patch.restore()
        await writer.discard()
        await self.write()

    async def test_a_sync_that_fails_while_more_comes(self) -> None:
        """The system tells of it once, and whoever asks next is told that all is well."""
        self.patch(folder, "FLUSH_EVERY", 1)
        begun, gate = threading.Event(), threading.Event()
        calls = iter(range(100))

        def fail_first(_: int) -> None:
            if next(calls) == 0:
                begun.set()
                gate.wait()
                raise OSError(errno.EIO, os.strerror(errno.EIO))

        writer = await self.payloads.create(self.new_key())
        self.patch(os, "fsync", fail_first)
        await writer.write([b"content"])
        begun.wait()
        committing = writer.commit()
        # It could have ended by the time that so many others have, one after another.
        for _ in range(200):
            missing = self.new_key()
            await self.assertFailure(self.payloads.get(missing), DamagedError)
        gate.set()
        await self.assertFailure(committing, UnavailableError)

    async def test_closed_under_readers(self) -> None:
        """A descriptor that is in use is not closed: its number could be another file's by then."""
        content = random.Random(1).randbytes(1_000_000)
        key, other = await self.write(content), await self.write(bytes(1_000_000))
        payload = await self.payloads.get(key)
        reading = [payload.read(start, start + 100_000) for start in range(0, 1_000_000, 100_000)]
        payload.close()
        others = [self.payloads.get(other) for _ in range(10)]
        for start, part in zip(range(0, 1_000_000, 100_000), reading, strict=True):
            result: list[object] = []
            await part.addBoth(result.append)
            if isinstance(result[0], bytes):
                self.assertEqual(result[0], content[start : start + 100_000])
        for opened in await gatherResults(others):
            opened.close()

    async def test_no_descriptor_is_left_of_a_commit_that_does_not_begin(self) -> None:
        self.patch(folder, "THREADS", 1)
        payloads = FolderPayloads(self.root)
        await payloads.open()
        first, second = [await payloads.create(self.new_key()) for _ in range(2)]
        gate, begun = threading.Event(), threading.Event()

        def wait(_: int) -> None:
            begun.set()
            gate.wait()

        busy = await payloads.create(self.new_key())
        patch = self.patch(os, "fsync", wait)
        committing = busy.commit()
        begun.wait()
        cancelled, closed = first.commit(), second.commit()
        cancelled.cancel()
        await self.assertFailure(cancelled, CancelledError)
        closing = payloads.close()
        gate.set()
        await self.assertFailure(closed, ClosedError)
        await committing
        patch.restore()
        await closing
        self.assertEqual(self.open_files(), [])

    def open_files(self) -> list[str]:
        """Tell which payloads this process has open."""
        paths = [os.path.realpath(f"/proc/self/fd/{it}") for it in os.listdir("/proc/self/fd")]
        return [path for path in paths if path.startswith(os.path.join(self.root, ".blobman"))]

    async def test_nothing_is_left_of_an_open_that_fails(self) -> None:
        path = self.mktemp()
        with open(path, "wb"):
            pass
        before = threading.enumerate()
        await self.assertFailure(FolderPayloads(path).open(), UnavailableError)
        # The reactor may have begun one of its own, which stays.
        others = [it.name for it in threading.enumerate() if it not in before]
        self.assertEqual([it for it in others if it.startswith("blobman")], [])
