"""The journal by itself: segments that end anywhere, and a disk that fails under them."""

from __future__ import annotations

import errno
import os
import struct
import threading
import zlib
from collections.abc import Sequence
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from blobman.server import disk
from blobman.server.journal import Journal
from blobman.server.storage import BlobName

from .blobs import sealed
from .contract import name


class RecoveryTests(SynchronousTestCase):
    """A segment that ends anywhere."""

    blobs = tuple((name(f"{number}", namespace="n"), sealed(str(number))) for number in range(3))

    def write(self) -> str:
        folder = str(self.mktemp())
        journal = Journal(folder)
        for blob in self.blobs:
            with journal.kept([blob]):
                pass
        (segment,) = os.listdir(folder)
        return f"{folder}/{segment}"

    def recover(self, folder: str) -> dict[BlobName, bytes]:
        recovered: dict[BlobName, bytes] = {}
        durable: list[BlobName] = []
        Journal(folder).recover(recovered.__setitem__, durable.extend)
        self.assertEqual(sorted(durable), sorted(recovered))
        self.assertEqual([*Path(folder).glob("*")], [])
        return recovered

    def test_cut_anywhere(self) -> None:
        path = self.write()
        with open(path, "rb") as file:
            whole = file.read()
        size = len(whole) // len(self.blobs)
        for end in range(len(whole) + 1):
            with open(path, "wb") as file:
                file.write(whole[:end])
            expected = dict(self.blobs[: end // size])
            self.assertEqual(self.recover(os.path.dirname(path)), expected)

    @given(st.data())
    def test_bytes_that_changed(self, data: st.DataObject) -> None:
        path = self.write()
        with open(path, "rb") as file:
            whole = bytearray(file.read())
        place = data.draw(st.integers(0, len(whole) - 1))
        whole[place] ^= data.draw(st.integers(1, 255))
        with open(path, "wb") as file:
            file.write(whole)
        recovered = self.recover(os.path.dirname(path))
        self.assertEqual(recovered.items() - dict(self.blobs).items(), set())

    def test_zeros_at_the_end(self) -> None:
        path = self.write()
        with open(path, "ab") as file:
            file.write(bytes(5000))
        self.assertEqual(self.recover(os.path.dirname(path)), dict(self.blobs))

    def test_dates(self) -> None:
        folder = self.mktemp()
        journal = Journal(folder)
        with journal.kept(self.blobs, [3, 1, 2]), journal.kept([(name("undated"), sealed())]):
            pass
        after = Journal(folder)
        after.recover(lambda *_: None, lambda _: None)
        expected = {name(f"{number}", namespace="n"): date for number, date in enumerate([3, 1, 2])}
        self.assertEqual(after.dates, {**expected, name("undated"): 0})

    def test_a_journal_of_an_earlier_version(self) -> None:
        folder = self.mktemp()
        os.mkdir(folder)
        text, content = b'["alice", "default", "a"]', sealed("a")
        checksum = zlib.crc32(content, zlib.crc32(text))
        header = struct.pack(">cIII", b"P", len(text), len(content), checksum)
        with open(os.path.join(folder, "000000000001"), "wb") as file:
            file.write(header + text + content)
        self.assertEqual(self.recover(folder), {name("a"): content})

    def test_what_can_not_be_restored(self) -> None:
        path = self.write()
        journal = Journal(os.path.dirname(path))
        restored: list[BlobName] = []
        failed: list[BlobName] = []

        def restore(blob: BlobName, content: bytes) -> None:
            if blob == self.blobs[1][0]:
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
            restored.append(blob)

        self.assertRaises(OSError, journal.recover, restore, lambda _: None)
        restored.clear()
        there = journal.recover(restore, lambda _: None, lambda blob, *_: failed.append(blob))
        self.assertTrue(there)
        self.assertEqual(restored, [self.blobs[0][0], self.blobs[2][0]])
        self.assertEqual(failed, [self.blobs[1][0]])
        self.assertEqual([journal.holds(it) for it, _ in self.blobs], [True, True, True])
        with journal.kept([(name("new"), sealed())]):
            pass
        settled: list[BlobName] = []
        journal.settle(settled.extend)
        self.assertEqual(sorted(settled), sorted([*(it for it, _ in self.blobs), name("new")]))
        self.assertEqual(os.listdir(os.path.dirname(path)), [])

    def test_none(self) -> None:
        self.assertEqual(self.recover(self.mktemp()), {})


class WritingTests(SynchronousTestCase):
    """Several write to the log at once, and the disk fails under one of them."""

    def setUp(self) -> None:
        self.folder = self.mktemp()
        self.journal = Journal(self.folder)

    def keep(self, blob: BlobName) -> str:
        try:
            with self.journal.kept([(blob, sealed(blob.blob_id))]):
                return "kept"
        except OSError:
            return "failed"

    def recovered(self) -> list[str]:
        found: list[str] = []
        Journal(self.folder).recover(lambda it, _: found.append(it.blob_id), lambda _: None)
        return sorted(found)

    def test_all_learn_that_the_disk_failed(self) -> None:
        waits, is_syncing, both_wrote = iter([True]), threading.Event(), threading.Barrier(2)
        write_pieces, sync_data = disk.write_pieces, disk.sync_data

        def sync(descriptor: int) -> None:
            if next(waits, False):
                is_syncing.set()
                both_wrote.wait(10)
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            # The system has told of it, and does not do so again.
            sync_data(descriptor)

        def write(descriptor: int, pieces: Sequence[bytes]) -> None:
            write_pieces(descriptor, pieces)
            if threading.current_thread() is not first:
                both_wrote.wait(10)

        results: list[str] = []
        first = threading.Thread(target=lambda: results.append(self.keep(name("a"))))
        self.patch(disk, "sync_data", sync)
        self.patch(disk, "write_pieces", write)
        first.start()
        self.assertTrue(is_syncing.wait(10))
        results.append(self.keep(name("b")))
        first.join()
        self.assertEqual(results, ["failed", "failed"])
        self.patch(disk, "write_pieces", write_pieces)
        self.assertEqual(self.keep(name("c")), "kept")
        self.assertIn("c", self.recovered())

    def test_one_waits_for_all(self) -> None:
        synced: list[int] = []
        self.patch(disk, "sync_data", synced.append)
        with self.journal.kept([(name("a"), sealed())]):
            segment = self.journal._segments[0]
            segment.make_durable(segment.size)
        self.assertEqual(len(synced), 1)

    def test_nothing_is_written_behind_what_is_not_whole(self) -> None:
        def write_half(descriptor: int, pieces: Sequence[bytes]) -> None:
            data = b"".join(pieces)
            os.write(descriptor, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        self.assertEqual(self.keep(name("a")), "kept")
        patch = self.patch(disk, "write_pieces", write_half)
        self.assertEqual(self.keep(name("b")), "failed")
        patch.restore()
        self.assertEqual(self.keep(name("c")), "kept")
        self.assertEqual(self.recovered(), ["a", "c"])

    def test_a_segment_that_can_not_be_removed(self) -> None:
        self.assertEqual(self.keep(name("a")), "kept")

        def fail(path: str) -> bool:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        patch = self.patch(disk, "remove", fail)
        self.assertRaises(OSError, self.journal.settle, lambda _: None)
        patch.restore()
        self.journal.settle(lambda _: None)
        self.assertEqual(os.listdir(self.folder), [])
