from __future__ import annotations

import io
import os
import select
import threading
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from blobman.cli.targets import PATIENCE, check_target, write_file, write_pipe


class _Unreadable(io.BytesIO):
    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    def read(self, size: int | None = -1) -> bytes:
        self.reads += 1
        if self.reads > 1:
            raise OSError("gone")
        return b"some"


class WriteFileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = str(self.folder / "out")
        self.stop = threading.Event()

    def write(self, content: bytes, overwrite: bool = False) -> None:
        write_file(io.BytesIO(content), self.path, overwrite, self.stop)

    def names(self) -> list[str]:
        return sorted(os.listdir(self.folder))

    def test_a_new_file(self) -> None:
        self.write(b"x" * 1_000_000)
        self.assertEqual((self.folder / "out").read_bytes(), b"x" * 1_000_000)
        self.assertEqual(self.names(), ["out"])

    def test_one_that_came_meanwhile(self) -> None:
        (self.folder / "out").write_bytes(b"theirs")
        self.assertRaises(FileExistsError, self.write, b"ours")
        self.assertEqual((self.folder / "out").read_bytes(), b"theirs")
        self.assertEqual(self.names(), ["out"])
        self.write(b"ours", overwrite=True)
        self.assertEqual((self.folder / "out").read_bytes(), b"ours")

    def test_a_link_is_not_followed(self) -> None:
        os.symlink("elsewhere", self.path)
        self.assertRaises(FileExistsError, check_target, self.path, False)
        self.assertRaises(FileExistsError, self.write, b"ours")
        self.assertEqual(self.names(), ["out"])

    def test_a_failure_leaves_nothing(self) -> None:
        self.assertRaises(OSError, write_file, _Unreadable(), self.path, False, self.stop)
        self.assertEqual(self.names(), [])

    def test_a_failure_leaves_the_old_one(self) -> None:
        self.write(b"old")
        self.assertRaises(OSError, write_file, _Unreadable(), self.path, True, self.stop)
        self.assertEqual((self.folder / "out").read_bytes(), b"old")
        self.assertEqual(self.names(), ["out"])

    def test_stopping_leaves_nothing(self) -> None:
        self.stop.set()
        self.assertRaises(CancelledError, self.write, b"x")
        self.assertEqual(self.names(), [])

    def test_a_device_is_written_to(self) -> None:
        check_target(os.devnull, False)
        write_file(io.BytesIO(b"x"), os.devnull, True, self.stop)
        self.assertFalse(os.path.isfile(os.devnull))

    def test_where_no_file_can_be(self) -> None:
        self.assertRaises(IsADirectoryError, check_target, str(self.folder), True)
        missing = str(self.folder / "missing" / "out")
        error = self.assertRaises(OSError, check_target, missing, False)
        self.assertEqual(error.filename, str(self.folder / "missing"))


class WritePipeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reading, self.writing = os.pipe()
        self.stop = threading.Event()

    def tearDown(self) -> None:
        os.close(self.writing)

    def test_it_stops_when_the_pipe_is_full(self) -> None:
        self.addCleanup(os.close, self.reading)
        content = io.BytesIO(b"x" * 10_000_000)
        looks: list[Any] = []
        look: Any = select.select

        def look_at_once(*arguments: Any) -> Any:
            """Look without waiting; when it is full, it is to stop."""
            looks.append(arguments[3])
            found = look(*arguments[:3], 0)
            if not found[1]:
                self.stop.set()
            return found

        self.patch(select, "select", look_at_once)
        self.assertRaises(CancelledError, write_pipe, content, self.writing, self.stop)
        self.assertEqual(set(looks), {PATIENCE})

    def test_nobody_reads(self) -> None:
        os.close(self.reading)
        content = io.BytesIO(b"x")
        self.assertRaises(BrokenPipeError, write_pipe, content, self.writing, self.stop)
