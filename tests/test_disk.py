"""Files: whose they are, what locks them, and how they are written."""

from __future__ import annotations

import os
import stat

from twisted.trial.unittest import SynchronousTestCase

from blobman import disk

from .server.owners import owners_below, work_as_root


class OwnerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = os.path.abspath(self.mktemp())
        os.mkdir(self.folder)
        self.path = os.path.join(self.folder, "file")

    def owner(self, path: str) -> tuple[int, int]:
        status = os.stat(path)
        return status.st_uid, status.st_gid

    def test_what_root_makes_is_the_folder_owners(self) -> None:
        work_as_root(self, self.folder)
        disk.make_folders(os.path.join(self.folder, "a", "b"))
        os.close(disk.create(os.path.join(self.folder, "a", "created")))
        disk.replace_file(self.path, b"replaced")
        with disk.locked(os.path.join(self.folder, "a", "lock")):
            pass
        self.assertEqual(owners_below(self.folder), {self.owner(self.folder)})

    def test_replacing_keeps_the_owner(self) -> None:
        disk.replace_file(self.path, b"1")
        os.chmod(self.path, 0o640)
        group = os.getgroups()[-1] if os.getgroups() else os.getegid()
        uid = 65533 if os.geteuid() == 0 else -1
        os.chown(self.path, uid, group)
        before = self.owner(self.path)
        work_as_root(self, self.folder)
        disk.replace_file(self.path, b"2")
        self.assertEqual(self.owner(self.path), before)
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o640)

    def test_what_can_not_be_given_away_is_ours_alone(self) -> None:
        disk.replace_file(self.path, b"1")
        os.chmod(self.path, 0o644)

        def refuse(*_: int) -> None:
            raise PermissionError

        self.patch(os, "fchown", refuse)
        other = os.stat_result((0o100644, 1, 1, 1, 65533, 65533, 1, 0, 0, 0))
        self.patch(os, "stat", lambda _: other)
        disk.replace_file(self.path, b"2")
        self.assertEqual(stat.S_IMODE(os.lstat(self.path).st_mode), 0o600)

    def test_a_lock_is_no_way_out_of_the_folder(self) -> None:
        outside = self.path + ".outside"
        os.symlink(outside, self.path)
        self.assertRaises(OSError, disk.open_lock, self.path)
        self.assertFalse(os.path.exists(outside))


class WritingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = os.path.abspath(self.mktemp())
        os.mkdir(self.folder)
        self.path = os.path.join(self.folder, "file")

    def test_many_pieces_in_turns(self) -> None:
        pieces = [bytes([number % 256]) * (number % 7) for number in range(3000)]
        writev = os.writev
        for most in (1, 1000, 10_000):
            # The system may take less than it is given.
            self.patch(
                os, "writev", lambda it, them, most=most: os.write(it, b"".join(them)[:most])
            )
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            disk.write_pieces(descriptor, pieces)
            self.assertEqual(os.pread(descriptor, 100_000, 0), b"".join(pieces))
            os.close(descriptor)
        self.patch(os, "writev", writev)
        disk.write_pieces(-1, [])
