"""Logs of SQLite, whole, cut and damaged."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from functools import partial

import apsw
from twisted.trial.unittest import SynchronousTestCase

from blobman.sqlite import KEY_SIZE, Log, LogFile, Salts, ask, connect, read_log

HEADER = 32
PAGE = 8192
FRAME = 24 + PAGE


def change_byte(path: str, at: int) -> None:
    with open(path, "r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 1]))


class LogTests(SynchronousTestCase):
    def setUp(self) -> None:
        folder = self.mktemp()
        os.mkdir(folder)
        self.path = os.path.join(folder, "database")
        self.log = self.path + "-wal"
        with closing(self.connect()) as connection:
            connection.execute("CREATE TABLE numbers (number)")
            for _ in range(6):
                connection.execute("INSERT INTO numbers VALUES (randomblob(9000))")
            self.expected = self.taken(connection)
        self.assertGreater(self.expected, 10)
        with open(self.log, "rb") as file:
            self.content = file.read()

    def connect(self) -> apsw.Connection:
        pragmas = ("journal_mode=WAL", "wal_autocheckpoint=0")
        return connect(self.path, bytes(KEY_SIZE), page_size=PAGE, pragmas=pragmas)

    def taken(self, connection: apsw.Connection) -> int:
        """Give the number of frames that SQLite takes."""
        return int(ask(connection, "PRAGMA wal_checkpoint(NOOP)")[0][1])

    def reopened(self) -> int:
        with closing(self.connect()) as connection:
            return self.taken(connection)

    def spoil(self, damage: Callable[[], object]) -> Log:
        with open(self.log, "wb") as file:
            file.write(self.content)
        damage()
        return read_log(self.log)

    def test_a_whole_one(self) -> None:
        log = read_log(self.log)
        self.assertEqual(log[:3], (True, self.expected, self.expected))
        self.assertTrue(log.is_whole)
        with closing(LogFile(self.log)) as file:
            self.assertEqual(file.read_salts(), log.salts)
            self.assertEqual(file.read_unverified_salts(), log.salts)
            frames = list(file.read_frames(self.expected + 1, PAGE))
            self.assertEqual(len(frames), self.expected)
            self.assertEqual({it.salts for it in frames}, {log.salts})
            self.assertEqual(frames[-1].pages, max(it.page for it in frames))
            self.assertIsNone(file.read_frame(self.expected + 1, PAGE))
            self.assertTrue(file.is_whole() and file.is_in_place())

    def test_none(self) -> None:
        os.unlink(self.log)
        self.assertEqual(read_log(self.log), (True, 0, 0, None))
        self.assertRaises(FileNotFoundError, LogFile, self.log)

    def test_an_empty_one(self) -> None:
        log = self.spoil(partial(os.truncate, self.log, 0))
        self.assertTrue(log.is_whole)
        with closing(LogFile(self.log)) as file:
            self.assertTrue(file.is_empty() and file.is_whole())
            self.assertEqual((file.read_salts(), file.read_unverified_salts()), (None, None))

    def test_another_file_in_its_place(self) -> None:
        with closing(LogFile(self.log)) as file:
            os.rename(self.log, self.log + ".old")
            self.assertRaises(FileNotFoundError, file.is_in_place)
            self.spoil(lambda: None)
            self.assertFalse(file.is_in_place())

    def test_a_byte_of_each_frame(self) -> None:
        # Its end, too: a frame is whole or none.
        for frame in range(self.expected):
            for at in (0, 4, 9, 13, 17, 23, 24, FRAME - 1):
                log = self.spoil(partial(change_byte, self.log, HEADER + frame * FRAME + at))
                self.assertEqual(log.whole, frame)
                self.assertEqual(log.is_whole, frame == self.expected - 1)
                self.assertLessEqual(self.reopened(), frame)

    def test_a_byte_of_the_header(self) -> None:
        for at in (*range(16, 24), *range(24, 32), 0, 8):
            log = self.spoil(partial(change_byte, self.log, at))
            self.assertEqual((log.has_header, log.is_whole), (False, False))
            with closing(LogFile(self.log)) as file:
                self.assertFalse(file.is_whole())
            self.assertEqual(self.reopened(), 0)

    def test_where_it_is_cut(self) -> None:
        for size in range(0, len(self.content), 3001):
            log = self.spoil(partial(os.truncate, self.log, size))
            self.assertEqual(log.whole, max(0, size - HEADER) // FRAME)
            self.assertEqual(log.has_header, size == 0 or size >= HEADER)

    def test_what_is_left_of_the_one_before(self) -> None:
        with closing(self.connect()) as connection:
            ask(connection, "PRAGMA wal_checkpoint(RESTART)")
            connection.execute("INSERT INTO numbers VALUES (1)")
            taken = self.taken(connection)
        log = read_log(self.log)
        self.assertEqual(os.path.getsize(self.log), len(self.content))
        self.assertEqual(log[:3], (True, taken, taken))

    def test_which_is_later(self) -> None:
        salts = read_log(self.log).salts
        assert salts is not None
        later, other = Salts(salts.first + 1 & 0xFFFFFFFF, 5), Salts(salts.first, 5)
        self.assertTrue(later.is_later_than(salts))
        for one, another in ((salts, later), (salts, salts), (other, salts)):
            self.assertFalse(one.is_later_than(another))
