"""Down a stream: what is read ahead, and what is left when it ends early."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
from collections.abc import Sequence
from typing import Any, cast

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase, TestCase

from blobman.protocol import MAX_FRAME_SIZE
from blobman.server.http.answers import PacedWriter
from blobman.server.http.body import ClientGoneError
from blobman.server.http.frames import AT_ONCE, NAMES, send_frames
from blobman.server.storage.backends import folder_backend
from blobman.server.storage.interface import BlobName, DamagedError, Found

from ..blobs import name, open_memory_backend, query, sealed
from ..tampering import key_of, payload_path
from .test_stream import frames_in


class Writer:
    """Takes what is written, and lets more come when a test says so."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.is_finished = False
        self.waiting: Deferred[None] | None = None
        self.is_slow = False

    def write(self, data: bytes) -> None:
        assert self.waiting is None
        self.written.append(data)

    def drained(self) -> Deferred[None]:
        if not self.is_slow:
            return succeed(None)
        self.waiting = Deferred()
        return self.waiting

    def drain(self) -> None:
        assert self.waiting is not None
        waiting, self.waiting = self.waiting, None
        waiting.callback(None)

    def registerProducer(self, producer: object, streaming: bool) -> None:
        pass

    def unregisterProducer(self) -> None:
        pass

    def finish(self) -> None:
        self.is_finished = True

    def frames(self) -> list[bytes | None]:
        return frames_in(b"".join(self.written))


class AheadTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.writer = Writer()
        self.backend = open_memory_backend()
        self.names = [name(f"b{number}") for number in range(1000)]
        self.asked: list[int] = []
        read_some = self.backend.read_some

        def record(names: Sequence[BlobName], most: int) -> Deferred[Found]:
            found = self.successResultOf(read_some(names, most))
            self.asked.append(len(found))
            return succeed(found)

        self.patch(self.backend, "read_some", record)

    def send(self) -> Deferred[None]:
        writer = cast(PacedWriter, self.writer)
        return Deferred.fromCoroutine(send_frames(writer, self.backend, self.names))

    def test_no_more_is_held_than_is_sent_soon(self) -> None:
        blobs = [(it, sealed(it.blob_id, 10_000)) for it in self.names]
        self.backend.store(blobs)
        self.writer.is_slow = True
        sending = self.send()
        while not self.writer.is_finished:
            self.assertLessEqual(sum(self.asked) * 10_000, 2 * (AT_ONCE + 10_000))
            self.asked.pop(0)
            self.writer.drain()
        self.successResultOf(sending)
        self.assertEqual(self.writer.frames(), [content for _, content in blobs])
        self.assertLess(len(self.writer.written), 60)
        self.assertLess(max(map(len, self.writer.written)), 256 * 1024)

    def test_many_that_are_not_there(self) -> None:
        self.successResultOf(self.send())
        self.assertEqual(self.writer.frames(), [None] * 1000)
        self.assertEqual(self.asked, [NAMES] * 10)

    def test_none(self) -> None:
        self.names = []
        self.successResultOf(self.send())
        self.assertEqual((self.asked, self.writer.is_finished), ([], True))


class FilesTests(TestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        self.writer = Writer()
        self.root = self.mktemp()
        self.backend = folder_backend(self.root)
        await self.backend.open()
        self.addCleanup(self.backend.close)

    def open_files(self) -> list[str]:
        """List the files in the folder that are open, where the system tells."""
        opened = []
        for path in glob.glob("/proc/self/fd/*"):
            # Some other thread may close it just now.
            with contextlib.suppress(FileNotFoundError):
                opened.append(os.readlink(path))
        return [it for it in opened if it.startswith(os.path.abspath(self.root))]

    async def store(self, *sizes: int) -> list[BlobName]:
        names = [name(f"b{it}") for it in range(len(sizes))]
        for it, size in enumerate(sizes):
            upload = await self.backend.receive(names[it], size)
            await upload.write([sealed(str(it), size)])
            await upload.publish()
        return names

    def send(self, names: list[BlobName]) -> Deferred[None]:
        writer = cast(PacedWriter, self.writer)
        return Deferred.fromCoroutine(send_frames(writer, self.backend, names))

    async def test_small_and_large(self) -> None:
        sizes = [800, 70_000, 800, 800, 300_000, 70_000, 65_536, 65_536, 65_536, 65_536, 800]
        names = await self.store(*sizes)
        await self.send(names)
        self.assertEqual(
            self.writer.frames(), [sealed(str(it), size) for it, size in enumerate(sizes)]
        )
        self.assertTrue(self.writer.is_finished)

    async def test_one_that_no_frame_can_hold(self) -> None:
        names = await self.store(800, 800, 800)

        async def grow(names: list[BlobName], most: int) -> Found:
            found = await read_some(names, most)
            assert found[1] is not None
            found[1].size = MAX_FRAME_SIZE + 1
            return found

        read_some = self.backend.read_some
        self.patch(self.backend, "read_some", lambda *them: Deferred.fromCoroutine(grow(*them)))
        await self.send(names)
        self.assertEqual(self.writer.frames(), [sealed("0")])
        self.assertTrue(self.writer.is_finished)

    async def test_one_that_can_not_be_read(self) -> None:
        names = await self.store(800, 800, 200_000, 800)
        key = key_of(self.root, names[2])
        assert key is not None
        os.unlink(payload_path(self.root, key))
        await self.assertFailure(self.send(names), DamagedError)
        self.assertEqual(self.writer.frames(), [sealed("0"), sealed("1")])
        self.assertFalse(self.writer.is_finished)

    async def test_nothing_stays_open(self) -> None:
        names = await self.store(800, 200_000, 200_000, 200_000)
        failures: list[Any] = [ClientGoneError(), OSError(errno.EIO, "broken")]
        for failure in failures:
            self.writer = Writer()
            self.writer.is_slow = True
            sending = self.send(names)
            (await self.next_wait()).callback(None)
            (await self.next_wait()).errback(failure)
            await self.assertFailure(sending, type(failure))
        await self.backend.close()
        self.assertEqual(self.open_files(), [])

    async def next_wait(self) -> Deferred[None]:
        while (waiting := self.writer.waiting) is None:
            await self.backend.count("nobody", query())
        self.writer.waiting = None
        return waiting
