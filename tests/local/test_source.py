"""Reading what is put: exactly as many bytes as it is said to have."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from twisted.trial.unittest import SynchronousTestCase

from blobman.errors import UnreadableContentError, WrongSizeError
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
