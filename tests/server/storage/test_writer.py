"""Work that is committed together, and what becomes of it when some of it fails."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import apsw
from twisted.trial.unittest import SynchronousTestCase

from blobman.errors import BlobNotFoundError, StoreError
from blobman.model import Flags
from blobman.server.storage.catalogue import writer as module
from blobman.server.storage.catalogue.connection import connect
from blobman.server.storage.catalogue.interface import Publication
from blobman.server.storage.catalogue.questions import Questions
from blobman.server.storage.catalogue.transaction import Transaction
from blobman.server.storage.catalogue.writer import Place, Publishing, Writer
from blobman.server.storage.interface import UnavailableError
from blobman.server.storage.threads import Work
from blobman.testing.contracts.support import name, query, sealed


def put(blob_id: str) -> Publishing:
    return Publishing([Publication(name(blob_id), 800, sealed()[-16:], sealed(blob_id))])


class WriterTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = os.path.abspath(self.mktemp())
        self.writer = Writer(Place(self.folder), time.time_ns)
        self.writer.open()
        self.addCleanup(lambda: self.writer.close())

    def run_together(self, *calls: Callable[[Transaction], Any]) -> list[Any]:
        """Do some at once; give the result or the error of each."""
        works: list[Work[Any]] = [Work(call) for call in calls]
        self.writer.run(works)
        for work in works:
            work.tell()
        outcomes: list[Any] = []
        for work in works:
            work.deferred.addBoth(outcomes.append)
        return [getattr(it, "value", it) for it in outcomes]

    def ids(self) -> list[str]:
        connection = connect(os.path.join(self.folder, "catalogue.sqlite"), 100_000)
        try:
            return Questions(connection).page("alice", query(), None, 100).ids
        finally:
            connection.close()

    def test_one_that_fails_takes_no_other_with_it(self) -> None:
        def fail(_: Transaction) -> None:
            raise ZeroDivisionError

        def write_and_fail(changes: Transaction) -> None:
            changes.publish(put("half").blobs)
            changes._run("INSERT INTO places VALUES (1, 'a', 'b', 0, 0, 0, 0)")

        outcomes = self.run_together(
            put("a"), fail, put("b"), write_and_fail, lambda it: it.delete(name("c")), put("d")
        )
        self.assertEqual([outcomes[number] for number in (0, 2, 5)], [[None]] * 3)
        self.assertIsInstance(outcomes[1], ZeroDivisionError)
        self.assertIsInstance(outcomes[3], apsw.ConstraintError)
        self.assertIsInstance(outcomes[4], BlobNotFoundError)
        self.assertEqual(self.ids(), ["a", "b", "d"])

    def test_numbers_after_a_failure(self) -> None:
        def publish_and_fail(changes: Transaction) -> None:
            changes.publish(put("x").blobs)
            raise ZeroDivisionError

        self.run_together(put("a"), publish_and_fail)
        self.run_together(put("b"))
        self.writer.close()
        self.writer.open()
        connection = connect(os.path.join(self.folder, "catalogue.sqlite"), 100_000)
        changes = Questions(connection).changes("alice", "default", 0, 100)
        connection.close()
        self.assertEqual([(it.number, it.blob_id) for it in changes], [(1, "a"), (2, "b")])

    def test_a_full_disk(self) -> None:
        """Nothing of what was refused is there, and when there is room, all goes on."""
        is_full = True

        def connect_to_full_disk(path: str, cache: int) -> apsw.Connection:
            connection = connect(path, cache)
            if is_full:
                connection.pragma("max_page_count", connection.pragma("page_count"))
            return connection

        self.run_together(put("a"))
        self.writer.close()
        self.patch(module, "connect", connect_to_full_disk)
        self.writer.open()
        outcomes = self.run_together(*[put(f"b{number:02}") for number in range(40)])
        there = [f"b{number:02}" for number, it in enumerate(outcomes) if it == [None]]
        refused = [it for it in outcomes if isinstance(it, UnavailableError)]
        self.assertEqual(len(there) + len(refused), 40)
        self.assertGreater(len(refused), 20)
        self.assertEqual(self.ids(), ["a", *there])
        is_full = False
        self.assertEqual(self.run_together(put("c")), [[None]])

    def test_one_that_is_moved_away(self) -> None:
        os.rename(self.folder, self.folder + "-away")
        (error,) = self.run_together(put("a"))
        self.assertIsInstance(error, UnavailableError)
        os.rename(self.folder + "-away", self.folder)
        self.assertEqual(self.run_together(put("a")), [[None]])

    def test_one_server_at_a_time(self) -> None:
        other = Writer(Place(self.folder), time.time_ns)
        error = self.assertRaises(StoreError, other.open)
        self.assertIn("another server", str(error))
        self.writer.close()
        other.open()
        other.close()

    def test_a_long_log_is_moved(self) -> None:
        self.patch(module, "LOG_LIMIT", 100_000)
        path = os.path.join(self.folder, "catalogue.sqlite")
        before = os.path.getsize(path)
        for number in range(100):
            self.run_together(put(str(number)))
        self.assertGreater(os.path.getsize(path), before)
        self.assertLess(os.path.getsize(path + "-wal"), 1_000_000)

    def test_flags_of_many(self) -> None:
        self.run_together(*[put(str(number)) for number in range(3)])
        outcomes = self.run_together(
            *[
                lambda it, n=number: it.set_flags(name(str(n)), [Flags.FAILED])
                for number in range(4)
            ]
        )
        self.assertEqual(outcomes[:3], [None] * 3)
        self.assertIsInstance(outcomes[3], BlobNotFoundError)
