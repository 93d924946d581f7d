"""Room for databases: it is there, and nobody's locks are lost by it."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys

import apsw
from twisted.trial.unittest import SynchronousTestCase

from blobman.sqlite import Preallocator, take_room

MIB = 1 << 20

_WRITE = """
import apsw, sys
connection = apsw.Connection(sys.argv[1])
try:
    connection.execute("BEGIN IMMEDIATE")
except apsw.BusyError:
    print("locked")
else:
    print("free")
"""


class PreallocatorTestCase(SynchronousTestCase):
    """There is a database, and who takes room for it."""

    def setUp(self) -> None:
        self.path = os.path.abspath(self.mktemp())
        self.connection = apsw.Connection(self.path)
        self.addCleanup(self.connection.close)
        self.connection.execute("CREATE TABLE numbers (number INTEGER)")
        self.room = self.preallocator()

    def preallocator(self) -> Preallocator:
        room = Preallocator(self.path)
        self.addCleanup(room.close)
        room.open()
        return room


class RoomTests(PreallocatorTestCase):
    def check_room(self) -> None:
        """It is there, and on the disk; and the database is as it was."""
        self.room.lengthen(self.connection, MIB)
        status = os.stat(self.path)
        self.assertEqual(status.st_size, MIB)
        self.assertGreaterEqual(status.st_blocks * 512, MIB)
        self.room.lengthen(self.connection, MIB // 2)
        self.assertEqual(os.stat(self.path).st_size, MIB)
        self.connection.execute("INSERT INTO numbers VALUES (1)")
        self.assertEqual(self.connection.pragma("integrity_check"), "ok")

    def fail_with(self, number: int) -> list[tuple[int, int, int]]:
        calls: list[tuple[int, int, int]] = []

        def fail(descriptor: int, start: int, length: int) -> None:
            calls.append((descriptor, start, length))
            raise OSError(number, os.strerror(number))

        self.patch(os, "posix_fallocate", fail)
        return calls

    def test_room_is_taken(self) -> None:
        self.check_room()

    def test_only_behind_what_is_there(self) -> None:
        """Where the system has to write to it, it writes over nothing."""
        size = os.path.getsize(self.path)
        calls = self.fail_with(errno.EIO)
        self.assertRaises(OSError, self.room.lengthen, self.connection, MIB)
        self.assertEqual([(start, length) for _, start, length in calls], [(size, MIB - size)])

    def test_without_support(self) -> None:
        """Of the file system, or of the operating system."""
        calls = self.fail_with(errno.EOPNOTSUPP)
        self.check_room()
        self.assertEqual(len(calls), 1)

    def test_without_the_call(self) -> None:
        self.patch(os, "posix_fallocate", None)
        del os.posix_fallocate
        self.check_room()

    def test_of_a_file_that_may_not_be_opened(self) -> None:
        room = Preallocator(self.path)
        self.patch(os, "open", lambda *_: os.stat("/nowhere"))
        self.room.close()
        room.open()
        self.room = room
        self.check_room()

    def test_no_room(self) -> None:
        for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            self.fail_with(number)
            self.assertRaises(apsw.FullError, self.room.lengthen, self.connection, MIB)

    def test_more_than_there_is(self) -> None:
        size = os.path.getsize(self.path)
        self.assertRaises(apsw.FullError, self.room.lengthen, self.connection, 1 << 55)
        self.assertEqual(os.path.getsize(self.path), size)

    def test_more_than_a_file_may_have(self) -> None:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_FSIZE, limits)
        resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, limits[1]))
        self.assertRaises(apsw.FullError, self.room.lengthen, self.connection, 2 * MIB)

    def test_a_disk_that_fails(self) -> None:
        self.fail_with(errno.EIO)
        error = self.assertRaises(OSError, self.room.lengthen, self.connection, MIB)
        self.assertEqual(error.errno, errno.EIO)


class FileTests(SynchronousTestCase):
    """Room in files that are no databases."""

    def setUp(self) -> None:
        self.descriptor = os.open(self.mktemp(), os.O_RDWR | os.O_CREAT)
        self.addCleanup(os.close, self.descriptor)
        os.write(self.descriptor, b"note")

    def check_room(self) -> None:
        take_room(self.descriptor, 4096, MIB)
        status = os.fstat(self.descriptor)
        self.assertEqual(status.st_size, 4096 + MIB)
        self.assertGreaterEqual(status.st_blocks * 512, MIB)
        self.assertEqual(os.pread(self.descriptor, 2 * MIB, 0).strip(b"\0"), b"note")

    def fail_with(self, number: int) -> None:
        def fail(*_: int) -> None:
            raise OSError(number, os.strerror(number))

        self.patch(os, "posix_fallocate", fail)

    def test_room_is_taken(self) -> None:
        self.check_room()

    def test_without_support(self) -> None:
        """It is written to, in as many turns as it takes."""
        self.fail_with(errno.EOPNOTSUPP)
        pwrite = os.pwrite
        self.patch(os, "pwrite", lambda file, data, at: pwrite(file, data[:300_000], at))
        self.check_room()

    def test_no_room(self) -> None:
        self.fail_with(errno.ENOSPC)
        error = self.assertRaises(OSError, take_room, self.descriptor, 4096, MIB)
        self.assertEqual(error.errno, errno.ENOSPC)
        self.assertEqual(os.fstat(self.descriptor).st_size, 4)

    def test_none_is_wanted(self) -> None:
        take_room(self.descriptor, 4, 0)
        self.assertEqual(os.fstat(self.descriptor).st_size, 4)


class LockTests(PreallocatorTestCase):
    """What another process finds."""

    def other_process(self) -> str:
        command = [sys.executable, "-c", _WRITE, self.path]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def test_one_of_two_closes(self) -> None:
        """Each has a connection, and the second one is in a transaction."""
        other = self.preallocator()
        self.room.lengthen(self.connection, MIB)
        self.connection.execute("BEGIN IMMEDIATE")
        other.lengthen(self.connection, 2 * MIB)
        other.close()
        self.assertEqual(self.other_process(), "locked")
        self.connection.execute("COMMIT")
        self.assertEqual(self.other_process(), "free")

    def test_opened_again(self) -> None:
        self.connection.execute("BEGIN IMMEDIATE")
        for _ in range(3):
            self.room.open()
        self.assertEqual(self.other_process(), "locked")

    def test_opened_by_another_name(self) -> None:
        link = self.path + ".link"
        os.symlink(self.path, link)
        other = Preallocator(link)
        self.addCleanup(other.close)
        self.connection.execute("BEGIN IMMEDIATE")
        other.open()
        other.close()
        self.assertEqual(self.other_process(), "locked")

    def test_the_file_is_replaced(self) -> None:
        """One of two goes on with the new one; the other one still has the old one."""
        other = self.preallocator()
        self.connection.execute("BEGIN IMMEDIATE")
        moved = self.path + ".moved"
        os.rename(self.path, moved)
        new = apsw.Connection(self.path)
        self.addCleanup(new.close)
        new.execute("CREATE TABLE numbers (number INTEGER)")
        other.open()
        other.lengthen(new, MIB)
        self.assertEqual(os.path.getsize(self.path), MIB)
        self.path = moved
        self.assertEqual(self.other_process(), "locked")

    def test_the_last_one_closes_the_file(self) -> None:
        def count() -> int:
            links = (f"/proc/self/fd/{it}" for it in os.listdir("/proc/self/fd"))
            return sum(os.path.exists(it) and os.path.samefile(it, self.path) for it in links)

        other = self.preallocator()
        before = count()
        self.room.close()
        self.assertEqual(count(), before)
        other.close()
        other.close()
        self.assertEqual(count(), before - 1)
