"""The journal is taken over: :class:`JournalIntake`."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from .... import disk
from ....protocol import TAG_SIZE
from ..catalogue.filling import Kept
from . import layout
from .files import date_beside, odd, read_part, reading
from .journal import Gap, read_segment
from .records import LastRecords, Put
from .taking import Taking

_PART = 64 * 1024
"""Bytes that are searched at a time."""


class SegmentFile:
    """
    A segment in a file, read piece by piece.

    :param descriptor: of the file, which stays open meanwhile.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._size = os.fstat(descriptor).st_size

    def __len__(self) -> int:
        """Tell the file's size."""
        return self._size

    def __getitem__(self, part: slice, /) -> bytes:
        """Read a part."""
        start, end, _ = part.indices(self._size)
        return read_part(self._descriptor, start, max(start, end))

    def find(self, wanted: bytes, start: int, /) -> int:
        """Search; see :class:`.journal.Segment`."""
        while start < self._size:
            found = self[start : start + _PART].find(wanted)
            if found >= 0:
                return start + found
            start += _PART - len(wanted) + 1
        return -1


class JournalIntake:
    """
    Takes over what is in the journal, and not to be read from files.

    :param root: the data folder.
    :param records: has no records yet.
    :ivar used_up: the segments, by their paths from the root, of which nothing is left to be found.
    """

    def __init__(self, root: str, records: LastRecords, taking: Taking) -> None:
        self._root = root
        self._records = records
        self._taking = taking
        self._segments = files_in(root, layout.JOURNAL)
        self.used_up: list[str] = []

    def take(self) -> None:
        """
        Take it over.

        :raise StoreError: something can't be read.
        """
        for number, path in enumerate(self._segments):
            if self._note_records(number, path):
                self.used_up.append(path)
        for put in self._records.puts():
            if put.is_doubtful and self._are_files_newer(put):
                self._records.forget(put.name)
            else:
                self._take_put(put)

    def _note_records(self, number: int, path: str) -> bool:
        """Note all records of a segment; give whether that is all that it holds."""
        is_whole = True
        with self._opened(path) as descriptor:
            for found in read_segment(SegmentFile(descriptor)):
                if isinstance(found, Gap):
                    is_whole = False
                    self._records.doubt()
                    self._taking.odd(odd(path, f"bytes {found.start} to {found.end} are damaged"))
                else:
                    self._records.note(number, found)
        return is_whole

    @contextmanager
    def _opened(self, path: str) -> Iterator[int]:
        full_path = os.path.join(self._root, path)
        with reading(full_path), disk.opened(full_path) as descriptor:
            yield descriptor

    def _are_files_newer(self, put: Put) -> bool:
        """
        Tell whether the files were changed after a record: before that, another one was made,
        which said that they are right.
        """
        tombstone = date_beside(self._root, put.name, layout.TOMBSTONE)
        if tombstone is not None and tombstone > self._date(put):
            return True
        flags = date_beside(self._root, put.name, layout.FLAGS)
        has_file = date_beside(self._root, put.name, "") is not None
        return has_file and flags is not None and flags > self._date(put)

    def _take_put(self, put: Put) -> None:
        with self._opened(self._segments[put.segment]) as descriptor:
            content = read_part(descriptor, put.start, put.end)
        tag = content[-TAG_SIZE:]
        self._taking.blob(Kept(put.name, len(content), tag, self._date(put), content=content))

    def _date(self, put: Put) -> int:
        """Give the date of a blob, or else one that is not before it."""
        if put.date:
            return put.date
        with self._opened(self._segments[put.segment]) as descriptor:
            return os.fstat(descriptor).st_mtime_ns


def files_in(root: str, folder: str) -> list[str]:
    """
    List the regular files of a folder in the order of their names, by their paths from the root.

    :param folder: its path from the root; it may be missing.
    :raise StoreError: it can't be read.
    """
    full_path = os.path.join(root, folder)
    with reading(full_path):
        try:
            entries = sorted(os.listdir(full_path))
        except (FileNotFoundError, NotADirectoryError):
            return []
        paths = [os.path.join(folder, name) for name in entries]
        return [it for it in paths if stat.S_ISREG(os.lstat(os.path.join(root, it)).st_mode)]
