"""Work that is committed together, and what becomes of it when some of it fails."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import apsw
from twisted.trial.unittest import SynchronousTestCase

from blobman.errors import BlobAlreadyExistsError, BlobNotFoundError, StoreError
from blobman.model import Flags
from blobman.server.storage.catalogue import log
from blobman.server.storage.catalogue import writer as module
from blobman.server.storage.catalogue.connection import PAGE_SIZE, connect
from blobman.server.storage.catalogue.folder import CatalogueFolder, take_lock
from blobman.server.storage.catalogue.interface import Publication
from blobman.server.storage.catalogue.questions import Questions
from blobman.server.storage.catalogue.transaction import Transaction
from blobman.server.storage.catalogue.writer import Publishing, Writer
from blobman.server.storage.interface import DamagedError, UnavailableError
from blobman.testing.contracts.support import name, query, sealed
from blobman.threads import Work

from .volatile import VolatileDisk


class _BrokenError(Exception):
    """Nothing more can be done with a connection."""


def put(blob_id: str) -> Publishing:
    return Publishing([Publication(name(blob_id), 800, sealed()[-16:], sealed(blob_id))])


def rename_and_back(path: str) -> Callable[[], None]:
    os.rename(path, path + "-away")
    return lambda: os.rename(path + "-away", path)


def copy_over(path: str) -> None:
    shutil.copy(path, path + "-copy")
    os.replace(path + "-copy", path)


class WriterTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = os.path.abspath(self.mktemp())
        self.writer = Writer(CatalogueFolder(self.folder), time.time_ns)
        self.writer.open()
        self.addCleanup(lambda: self.writer.close())

    def run_together(self, *calls: Callable[[Transaction], Any]) -> list[Any]:
        """Do some at once; give the result or the error of each."""
        works: list[Work[Any]] = [Work(call) for call in calls]
        outcomes: list[Any] = []
        for work in works:
            work.deferred.addBoth(outcomes.append)
        self.writer.run(works)
        for work in works:
            work.tell()
        return [getattr(it, "value", it) for it in outcomes]

    def cut_the_power(self, pages_lost: int = 0) -> str:
        """
        Give a copy of the folder in which the database is as short as its pages let it be.

        :param pages_lost: how many of these are cut off, too.
        """
        copy: str = f"{self.folder}-{pages_lost}"
        pages = self.writer.connection().pragma("page_count")
        assert isinstance(pages, int)
        shutil.copytree(self.folder, copy)
        path = os.path.join(copy, "catalogue.sqlite")
        self.assertGreater(os.path.getsize(path), pages * PAGE_SIZE + 1_000_000)
        os.truncate(path, (pages - pages_lost) * PAGE_SIZE)
        return copy

    def test_room_that_a_power_cut_takes(self) -> None:
        # A process was killed when it had taken room, and before it logged anything.
        self.writer.close()
        path = os.path.join(self.folder, "catalogue.sqlite")
        os.unlink(path + "-wal")
        os.truncate(path, os.path.getsize(path) + 256 * PAGE_SIZE)
        self.writer.open()
        self.run_together(put("a"))
        self.folder, whole = self.cut_the_power(), self.folder
        writer = Writer(CatalogueFolder(self.folder), time.time_ns)
        writer.open()
        writer.close()
        self.assertEqual(self.ids(), ["a"])
        # Pages that are nowhere are missed.
        self.folder = whole
        writer = Writer(CatalogueFolder(self.cut_the_power(10)), time.time_ns)
        self.assertRaises(DamagedError, writer.open)

    def ids(self) -> list[str]:
        connection = connect(os.path.join(self.folder, "catalogue.sqlite"), 100_000)
        try:
            return Questions(connection).page("alice", query(), None, 100).ids
        finally:
            connection.close()

    def numbers(self) -> list[tuple[int, str]]:
        connection = connect(os.path.join(self.folder, "catalogue.sqlite"), 100_000)
        try:
            changes = Questions(connection).changes("alice", "default", 0, 100)
        finally:
            connection.close()
        return [(it.number, it.blob_id) for it in changes]

    def test_who_has_the_folder_for_a_moment_is_waited_for(self) -> None:
        self.writer.close()
        lock = take_lock(CatalogueFolder(self.folder))
        self.patch(time, "sleep", lambda _: os.close(lock))
        self.writer.open()
        self.run_together(put("a"))
        self.assertEqual(self.ids(), ["a"])

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

    def test_what_is_refused_goes_with_the_rest(self) -> None:
        """Who asks for what is not there does not keep others from being committed together."""
        self.run_together(put("a"))
        statements: list[str] = []
        connection = self.writer.connection()

        def trace(_: object, statement: str, __: object) -> bool:
            statements.append(statement)
            return True

        connection.exec_trace = trace
        outcomes = self.run_together(
            lambda it: it.delete(name("no")), put("b"), lambda it: it.set_flags(name("no"), ()),
            put("c"), lambda it: it.reserve(name("a"), "key", 10), lambda it: it.extend("no", 10),
        )  # fmt: skip
        self.assertEqual([outcomes[1], outcomes[3]], [[None], [None]])
        for number, kind in (
            (0, BlobNotFoundError), (2, BlobNotFoundError), (4, BlobAlreadyExistsError),
            (5, UnavailableError),
        ):  # fmt: skip
            self.assertIsInstance(outcomes[number], kind)
        self.assertEqual(self.ids(), ["a", "b", "c"])
        self.assertEqual(statements.count("COMMIT"), 1)

    def test_what_is_refused_writes_nothing(self) -> None:
        self.run_together(put("a"))
        connection = self.writer.connection()
        before = connection.total_changes()
        for _ in range(3):
            self.run_together(lambda it: it.delete(name("no")), lambda it: it.delete(name("no")))
        self.assertEqual(connection.total_changes(), before)

    def test_numbers_after_a_failure(self) -> None:
        def publish_and_fail(changes: Transaction) -> None:
            changes.publish(put("x").blobs)
            raise ZeroDivisionError

        self.run_together(put("a"), publish_and_fail)
        self.run_together(put("b"))
        self.writer.close()
        self.writer.open()
        self.assertEqual(self.numbers(), [(1, "a"), (2, "b")])

    def test_a_full_disk(self) -> None:
        """Nothing of what was refused is there, and when there is room, all goes on."""
        connections: list[apsw.Connection] = []

        def connect_to_full_disk(path: str, cache: int) -> apsw.Connection:
            connection = connect(path, cache)
            connection.pragma("max_page_count", connection.pragma("page_count"))
            connections.append(connection)
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
        connections[-1].pragma("max_page_count", 1_000_000)
        self.assertEqual(self.run_together(put("c")), [[None]])

    def failing_disk(self) -> VolatileDisk:
        """Have the catalogue on a disk that can fail."""
        self.writer.close()
        disk = VolatileDisk(self.folder, Random(1))
        disk.install(self)
        self.writer.open()
        return disk

    def test_a_disk_that_fails_once(self) -> None:
        """Each is tried again by itself, and none is told that it has been done already."""
        disk = self.failing_disk()
        self.run_together(put("a"))
        failures = iter(["catalogue.sqlite-wal"])
        disk.failing = lambda path: os.path.basename(path) == next(failures, None)
        outcomes = self.run_together(put("b"), lambda it: it.delete(name("a")), put("c"))
        self.assertEqual(outcomes, [[None], None, [None]])
        self.assertIsNone(next(failures, None))
        # The first number went to the generation of the start before.
        self.assertEqual(self.numbers(), [(3, "b"), (4, "a"), (5, "c")])

    def test_a_last_number_that_can_not_be_noted(self) -> None:
        """What is committed is done all the same, and is not done again."""
        disk = self.failing_disk()
        self.run_together(put("a"), put("b"))
        os.truncate(os.path.join(self.folder, "last-number"), 0)
        # The log has room for more.
        disk.capacity = disk.used()
        outcomes = self.run_together(lambda it: it.delete(name("a")), lambda it: it.renew([]))
        self.assertEqual(outcomes, [None, None])
        self.assertEqual(self.ids(), ["b"])

    def test_a_connection_that_breaks(self) -> None:
        """What it did last may have happened; it is not done again, and all goes on after it."""
        self.run_together(put("a"))

        def leave_open(changes: Transaction) -> None:
            changes.publish(put("x").blobs)
            raise _BrokenError

        @contextmanager
        def broken(connection: apsw.Connection) -> Iterator[None]:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except _BrokenError as error:
                raise apsw.IOError from error
            connection.execute("COMMIT")

        self.patch(log, "transaction", broken)
        outcomes = self.run_together(leave_open, put("b"))
        self.assertEqual([type(it) for it in outcomes], [UnavailableError] * 2)
        self.assertEqual(self.run_together(put("c")), [[None]])
        self.assertEqual(self.numbers(), [(1, "a"), (2, "c")])

    def test_a_commit_that_is_not_certain(self) -> None:
        """Whoever waits for changes looks whether it happened, though it is not acknowledged."""
        announced: list[tuple[str, str]] = []
        self.writer.close()
        self.writer = Writer(CatalogueFolder(self.folder), time.time_ns, None, announced.extend)
        self.writer.open()
        self.run_together(put("a"))
        self.assertEqual(announced, [("alice", "default")])

        @contextmanager
        def uncertain(connection: apsw.Connection) -> Iterator[None]:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("COMMIT")
            # Something is open still, as if it had not come to that.
            connection.execute("BEGIN IMMEDIATE")
            raise apsw.IOError

        self.patch(log, "transaction", uncertain)
        (error,) = self.run_together(put("b"))
        self.assertIsInstance(error, UnavailableError)
        self.assertEqual(self.ids(), ["a", "b"])
        self.assertEqual(announced, [("alice", "default")] * 2)

    def test_one_that_is_moved_away(self) -> None:
        os.rename(self.folder, self.folder + "-away")
        (error,) = self.run_together(put("a"))
        self.assertIsInstance(error, UnavailableError)
        os.rename(self.folder + "-away", self.folder)
        self.assertEqual(self.run_together(put("a")), [[None]])

    def test_a_log_that_is_moved_or_replaced(self) -> None:
        """Nothing is acknowledged that nobody would find, and what was is not lost."""
        ways: tuple[Callable[[str], Callable[[], None] | None], ...] = (
            os.remove, rename_and_back, copy_over,
        )  # fmt: skip
        for number, replace in enumerate(ways):
            self.assertEqual(self.run_together(put(f"before-{number}")), [[None]])
            put_back = replace(self.writer._folder.log)
            outcomes = self.run_together(put("lost"), lambda it: it.delete(name("before-0")))
            for outcome in outcomes:
                self.assertIsInstance(outcome, UnavailableError)
            if put_back:
                put_back()
                self.assertEqual(self.run_together(put("back")), [[None]])
            self.writer.close()
            self.writer.open()
        self.assertEqual(self.ids(), ["back", "before-0", "before-1", "before-2"])

    def test_a_log_that_is_emptied(self) -> None:
        self.run_together(put("moved"))
        self.writer.rest()
        self.run_together(put("a"))
        os.truncate(self.writer._folder.log, 0)
        for _ in range(2):
            (outcome,) = self.run_together(put("lost"))
            self.assertIsInstance(outcome, DamagedError)
        self.writer.close()
        error = self.assertRaises(DamagedError, self.writer.open)
        self.assertIn("acknowledged", str(error))

    def test_one_server_at_a_time(self) -> None:
        other = Writer(CatalogueFolder(self.folder), time.time_ns)
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
