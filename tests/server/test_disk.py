"""Files: whose they are, what locks them, and how they are written."""

from __future__ import annotations

import os
import stat
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from blobman.errors import StoreError
from blobman.server import disk
from blobman.server.folder import BlobFolder

from .owners import owners_below, work_as_root


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
        disk.replace_file(self.path, b"replaced", self.folder)
        with disk.locked(os.path.join(self.folder, "a", "lock")):
            pass
        self.assertEqual(owners_below(self.folder), {self.owner(self.folder)})

    def test_what_root_makes_in_one_go(self) -> None:
        work_as_root(self, self.folder)
        heirs = disk.Heirs()
        for folder in ("a", "b"):
            path = os.path.join(self.folder, folder, "c")
            disk.make_folders(path, heirs)
            for number in range(2):
                disk.write_new(os.path.join(path, str(number)), b"", heirs)
        self.assertEqual(owners_below(self.folder), {self.owner(self.folder)})

    def test_each_gets_what_is_in_his_folder(self) -> None:
        if os.geteuid() != 0:
            raise SkipTest("only root can give folders away")
        heirs = disk.Heirs()
        for uid in (0, 65533, 65534):
            folder = os.path.join(self.folder, str(uid))
            os.mkdir(folder)
            os.chown(folder, uid, uid)
            disk.make_folders(os.path.join(folder, "a"), heirs)
            disk.write_new(os.path.join(folder, "a", "b"), b"", heirs)
            self.assertEqual(owners_below(folder), {(uid, uid)})

    def test_replacing_keeps_the_owner(self) -> None:
        disk.replace_file(self.path, b"1", self.folder)
        os.chmod(self.path, 0o640)
        group = os.getgroups()[-1] if os.getgroups() else os.getegid()
        uid = 65533 if os.geteuid() == 0 else -1
        os.chown(self.path, uid, group)
        before = self.owner(self.path)
        work_as_root(self, self.folder)
        disk.replace_file(self.path, b"2", self.folder)
        self.assertEqual(self.owner(self.path), before)
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o640)

    def test_what_can_not_be_given_away_is_ours_alone(self) -> None:
        disk.replace_file(self.path, b"1", self.folder)
        os.chmod(self.path, 0o644)

        def refuse(*_: int) -> None:
            raise PermissionError

        self.patch(os, "fchown", refuse)
        other = os.stat_result((0o100644, 1, 1, 1, 65533, 65533, 1, 0, 0, 0))
        self.patch(os, "stat", lambda _: other)
        disk.replace_file(self.path, b"2", self.folder)
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

    def test_what_can_not_be_written_is_not_there(self) -> None:
        def fail(_: int) -> None:
            raise OSError

        self.patch(disk, "date", fail)
        self.assertRaises(OSError, disk.write_new, self.path, b"1")
        self.assertEqual(os.listdir(self.folder), [])

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

    def test_no_file_is_moved_over_another(self) -> None:
        other = self.path + ".other"
        disk.write_new(self.path, b"1")
        disk.write_new(other, b"2")
        self.assertRaises(FileExistsError, disk.move_to_free_place, other, self.path)
        os.unlink(self.path)
        disk.move_to_free_place(other, self.path)
        self.assertEqual(os.listdir(self.folder), ["file"])


class CaseTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = self.mktemp()
        os.mkdir(self.folder)

    def fold_names(self) -> None:
        """Have files made as on a file system that does not tell Alice from alice."""
        create = disk.create

        def fold(path: str, *them: disk.Heirs) -> int:
            folder, name = os.path.split(path)
            return create(os.path.join(folder, name.lower()), *them)

        self.patch(disk, "create", fold)

    def test_names_that_are_kept_apart(self) -> None:
        disk.check_case(self.folder)
        self.assertEqual(os.listdir(self.folder), [])

    def test_names_that_are_not(self) -> None:
        self.fold_names()
        error = self.assertRaises(StoreError, disk.check_case, self.folder)
        self.assertIn(self.folder, str(error))
        self.assertEqual(os.listdir(self.folder), [])

    def test_a_server_does_not_begin_there(self) -> None:
        self.fold_names()
        for _ in range(2):
            self.assertRaises(StoreError, BlobFolder(self.folder).open)
