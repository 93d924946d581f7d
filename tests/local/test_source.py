"""Reading what is put: exactly as many bytes as it is said to have."""

from __future__ import annotations

import io
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from twisted.trial.unittest import SynchronousTestCase

from blobman.errors import UnreadableContentError, WrongSizeError
from blobman.local import source
from blobman.local.source import Source


class SourceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = self.mktemp()
        with open(self.path, "wb") as file:
            file.write(b"0123456789")

    @contextmanager
    def files(self) -> Iterator[list[Any]]:
        """Open it in each way; each is somewhere in the middle."""
        with (
            open(self.path, "rb") as buffered,
            open(self.path, "rb", buffering=0) as raw,
            open(self.path, "r+b") as both_ways,
            io.BytesIO(b"0123456789") as in_memory,
        ):
            files: list[Any] = [buffered, raw, both_ways, in_memory]
            for file in files:
                file.read(4)
            yield files

    def read(self, file: BinaryIO, size: int) -> bytes:
        return Source(file, size, 1 << 20, "blob 'a'").read_all()

    def test_from_the_start(self) -> None:
        with self.files() as files:
            for file in files:
                self.assertEqual(self.read(file, 10), b"0123456789")

    def test_shorter_and_longer(self) -> None:
        with self.files() as files:
            for file in files:
                for size in (0, 9, 11, 1000):
                    error = self.assertRaises(WrongSizeError, self.read, file, size)
                    self.assertIn("blob 'a'", str(error))

    def test_empty(self) -> None:
        os.truncate(self.path, 0)
        with open(self.path, "rb") as buffered, open(self.path, "rb", buffering=0) as raw:
            for file in (buffered, raw):
                self.assertEqual(self.read(file, 0), b"")

    def test_one_call_for_a_plain_file(self) -> None:
        calls: list[tuple[int, int, int]] = []
        pread = os.pread

        def noted(file: int, size: int, at: int) -> bytes:
            calls.append((file, size, at))
            return pread(file, size, at)

        self.patch(os, "pread", noted)
        with open(self.path, "rb", buffering=0) as file:
            self.read(file, 10)
            self.assertEqual(calls, [(file.fileno(), 11, 0)])
            self.assertEqual(file.tell(), 0)

    def test_a_file_that_gives_less_at_a_time(self) -> None:
        """As network file systems may, when a signal comes."""
        pread = os.pread
        self.patch(os, "pread", lambda file, size, at: pread(file, min(size, 3), at))
        with open(self.path, "rb", buffering=0) as file:
            self.assertEqual(self.read(file, 10), b"0123456789")
            self.assertRaises(WrongSizeError, self.read, file, 11)

    def test_closed(self) -> None:
        with self.files() as files:
            pass
        for file in files:
            self.assertRaises(UnreadableContentError, self.read, file, 10)

    def test_not_seekable(self) -> None:
        receiver, sender = os.pipe()
        os.close(sender)
        with open(receiver, "rb", buffering=0) as file:
            error = self.assertRaises(ValueError, self.read, file, 0)
            self.assertIn("seekable", str(error))

    def test_not_for_reading(self) -> None:
        with open(self.path, "ab", buffering=0) as file:
            error = self.assertRaises(UnreadableContentError, self.read, file, 10)
            self.assertIsNotNone(error.__cause__)


class NowTests(SynchronousTestCase):
    """What is read in the reactor's thread: all of it, or nothing."""

    def setUp(self) -> None:
        self.path = self.mktemp()

    def write(self, size: int) -> bytes:
        content = random.Random(1).randbytes(size)
        with open(self.path, "wb") as file:
            file.write(content)
        return content

    def read(self, file: BinaryIO, size: int) -> bytes | None:
        return Source(file, size, 1 << 20, "blob 'a'").read_now()

    def expected(self, content: bytes) -> bytes | None:
        """Not every system has a call for it, nor every file system."""
        with open(self.path, "rb", buffering=0) as file:
            try:
                os.preadv(file.fileno(), [bytearray(1)], 0, os.RWF_NOWAIT)
            except (OSError, AttributeError):
                return None
        return content

    def test_files(self) -> None:
        for size in (0, 1, 4095, 4096, 4097, 100_000, source.MOST_NOW):
            content = self.write(size)
            for buffering in (0, -1):
                with open(self.path, "rb", buffering) as file:
                    file.seek(size // 2)
                    self.assertEqual(self.read(file, size), self.expected(content))
                    self.assertEqual(file.tell(), size // 2)

    def test_in_memory(self) -> None:
        file = io.BytesIO(b"0123456789")
        file.seek(3)
        self.assertEqual(self.read(file, 10), b"0123456789")
        self.assertEqual(self.read(io.BytesIO(), 0), b"")
        for size in (9, 11):
            self.assertIsNone(self.read(file, size))
        file.close()
        self.assertIsNone(self.read(file, 10))

    def test_another_length(self) -> None:
        self.write(8192)
        with open(self.path, "rb", 0) as file:
            for size in (0, 4095, 4096, 8191, 8193, 12288):
                self.assertIsNone(self.read(file, size))

    def test_what_follows_is_not_in_memory(self) -> None:
        """Of a file that is longer than its page, what is in memory can end with the page."""
        self.write(8192)
        preadv = os.preadv

        def read_a_page(file: int, buffers: Any, at: int, flags: int) -> int:
            return preadv(file, [memoryview(buffers[0])[:4096]], at)

        self.patch(os, "preadv", read_a_page)
        with open(self.path, "rb", 0) as file:
            self.assertIsNone(self.read(file, 4096))
            self.assertIsNone(self.read(file, 8192))

    def test_what_a_thread_has_to_do(self) -> None:
        self.write(source.MOST_NOW + 1)
        with open(self.path, "rb", 0) as file:
            self.assertIsNone(self.read(file, source.MOST_NOW + 1))
        with open(self.path, "r+b") as both_ways, open(self.path, "ab", 0) as appending:
            self.assertIsNone(self.read(both_ways, source.MOST_NOW))
            self.assertIsNone(self.read(appending, source.MOST_NOW))
        self.assertIsNone(self.read(both_ways, 0))

    def test_where_there_is_no_call_for_it(self) -> None:
        self.write(10)
        self.patch(source, "_RWF_NOWAIT", None)
        with open(self.path, "rb", 0) as raw:
            self.assertIsNone(self.read(raw, 10))

    def test_where_it_would_have_to_wait(self) -> None:
        self.write(10)

        def fail(*_: object) -> int:
            raise BlockingIOError

        self.patch(os, "preadv", fail)
        with open(self.path, "rb", 0) as raw:
            self.assertIsNone(self.read(raw, 10))
