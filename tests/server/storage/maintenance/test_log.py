"""Logs of SQLite, whole, cut and damaged."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from functools import partial

import apsw
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from blobman.server.storage.catalogue.connection import connect
from blobman.server.storage.catalogue.log import frames_moved, mark_of, read_salt
from blobman.sqlite import Log, ask, read_log

from .folders import change_file

HEADER = 32
FRAME = 24 + 8192


class LogTests(SynchronousTestCase):
    def setUp(self) -> None:
        folder = self.mktemp()
        os.mkdir(folder)
        self.path = os.path.join(folder, "catalogue.sqlite")
        self.log = self.path + "-wal"
        with closing(connect(self.path, 100_000)) as connection:
            connection.execute("CREATE TABLE numbers (number)")
            for _ in range(6):
                connection.execute("INSERT INTO numbers VALUES (randomblob(9000))")
            self.expected = self.taken(connection)
        self.assertGreater(self.expected, 10)
        with open(self.log, "rb") as file:
            self.content = file.read()

    def taken(self, connection: apsw.Connection) -> int:
        """Give the number of frames that SQLite takes."""
        return int(ask(connection, "PRAGMA wal_checkpoint(NOOP)")[0][1])

    def reopened(self) -> int:
        with closing(connect(self.path, 100_000)) as connection:
            return self.taken(connection)

    def spoil(self, damage: Callable[[], object]) -> Log:
        with open(self.log, "wb") as file:
            file.write(self.content)
        damage()
        return read_log(self.log)

    def test_a_whole_one(self) -> None:
        log = read_log(self.log)
        self.assertEqual(log[:3], (True, self.expected, self.expected))
        assert log.salts is not None
        self.assertEqual(log.salts.second, read_salt(self.log))
        self.assertTrue(log.is_whole)

    def test_none(self) -> None:
        os.unlink(self.log)
        self.assertEqual(read_log(self.log), (True, 0, 0, None))
        self.assertIsNone(read_salt(self.log))

    def test_a_byte_of_each_frame(self) -> None:
        # Its end, too: a frame is whole or none.
        for frame in range(self.expected):
            for at in (0, 4, 9, 13, 17, 23, 24, FRAME - 1):
                log = self.spoil(partial(change_file, self.log, HEADER + frame * FRAME + at))
                self.assertEqual(log.whole, frame)
                self.assertEqual(log.is_whole, frame == self.expected - 1)
                self.assertLessEqual(self.reopened(), frame)

    def test_a_byte_of_the_header(self) -> None:
        for at in (*range(16, 24), *range(24, 32), 0, 8):
            log = self.spoil(partial(change_file, self.log, at))
            self.assertEqual((log.has_header, log.is_whole), (False, False))
            self.assertEqual(self.reopened(), 0)

    def test_where_it_is_cut(self) -> None:
        for size in range(0, len(self.content), 3001):
            log = self.spoil(partial(os.truncate, self.log, size))
            self.assertEqual(log.whole, max(0, size - HEADER) // FRAME)
            self.assertEqual(log.has_header, size == 0 or size >= HEADER)

    def test_what_is_left_of_the_one_before(self) -> None:
        with closing(connect(self.path, 100_000)) as connection:
            ask(connection, "PRAGMA wal_checkpoint(RESTART)")
            connection.execute("INSERT INTO numbers VALUES (1)")
            taken = self.taken(connection)
        log = read_log(self.log)
        self.assertEqual(os.path.getsize(self.log), len(self.content))
        self.assertEqual(log[:3], (True, taken, taken))

    @given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
    def test_how_much_has_been_moved(self, salt: int, frames: int, another: int) -> None:
        mark = mark_of(salt, frames)
        self.assertEqual(frames_moved(mark, salt), frames)
        self.assertEqual(frames_moved(mark, another), frames if another == salt else 0)
        self.assertEqual(frames_moved(mark, None), 0)
