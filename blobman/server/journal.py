"""
A log of small blobs: what was promised is durable in it until its files are durable themselves.

A file of its own costs a small blob several waits for the disk: for its bytes, and for every
folder on its way. Appended to a log, many blobs cost one. Their files are written at once, or soon
(``backlog.py``), and may reach the disk when the system likes; a start after a crash writes again
what did not. The log is a row of segments. A record is::

    kind       1 byte    b"D": the blob is to be there; b"K": what is in its place is right
    name       4 bytes   length, big-endian
    content    4 bytes   length, big-endian
    checksum   4 bytes   CRC-32 of name, date and content, big-endian
    name                 JSON: [user, namespace, id]
    date       8 bytes   nanoseconds since the epoch, big-endian, 0 if not known; not in "K"
    content              the sealed blob; empty in "K"

A record of the kind b"P", which earlier versions wrote, is one of the kind b"D" without the date.

The last whole record of a name counts. A segment ends where a record is not whole.

All of this blocks; it may be called from several threads.
"""

from __future__ import annotations

import errno
import json
import os
import struct
import threading
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from . import disk
from .storage import BlobName

_HEADER = struct.Struct(">cIII")
_DATE = struct.Struct(">Q")
_PUT = b"D"
_UNDATED_PUT = b"P"
_KEEP = b"K"

NamedBlob = tuple[BlobName, bytes]


class _Record(NamedTuple):
    is_put: bool
    name: BlobName
    date: int
    content: bytes


def _encode(
    kind: bytes, name: BlobName, date: bytes = b"", content: bytes = b""
) -> tuple[bytes, bytes]:
    text = json.dumps(name).encode("ascii") + date
    checksum = zlib.crc32(content, zlib.crc32(text))
    name_size = len(text) - len(date)
    return _HEADER.pack(kind, name_size, len(content), checksum) + text, content


def _read(path: str) -> Iterator[_Record]:
    """Read the whole records of a segment, one by one."""
    left = os.path.getsize(path)
    with open(path, "rb") as file:
        while len(header := file.read(_HEADER.size)) == _HEADER.size:
            kind, name_size, content_size, checksum = _HEADER.unpack(header)
            date_size = _DATE.size if kind == _PUT else 0
            left -= _HEADER.size + name_size + date_size + content_size
            if kind not in (_PUT, _UNDATED_PUT, _KEEP) or left < 0:
                return
            text, date, content = map(file.read, (name_size, date_size, content_size))
            if zlib.crc32(content, zlib.crc32(text + date)) != checksum:
                return
            when = int.from_bytes(date, "big")
            yield _Record(kind != _KEEP, BlobName(*json.loads(text)), when, content)


def _segments_in(folder: str) -> list[str]:
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    return [os.path.join(folder, name) for name in names]


class _Segment:
    """
    A file that is appended to; :attr:`users` are those who still put files in their places.

    :param names: those that depend on one that is there already, and is not appended to.
    """

    def __init__(self, path: str, names: Collection[BlobName] | None = None) -> None:
        self.path = path
        self.users = 0
        self.size = 0
        self.names = set(names or ())
        self._syncing = threading.Lock()
        self._durable = 0
        self._is_damaged = False
        self._descriptor = -1
        if names is not None:
            self.size = os.path.getsize(path)
            return
        self._descriptor = disk.create(path)
        try:
            disk.sync_folder(os.path.dirname(path))
        except BaseException:
            self.close()
            raise

    def append(self, records: Sequence[bytes]) -> None:
        disk.write_pieces(self._descriptor, records)
        self.size += sum(map(len, records))

    def make_durable(self, end: int) -> None:
        """Wait until it is durable up to there: one waits for the disk for all that wait."""
        with self._syncing:
            if self._durable >= end:
                return
            if self._is_damaged:
                # The system tells of an error only once, whoever lost something by it.
                raise OSError(errno.EIO, "the journal could not be written")
            size = self.size
            try:
                disk.sync_data(self._descriptor)
            except BaseException:
                self._is_damaged = True
                raise
            self._durable = size

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def remove(self) -> None:
        self.close()
        _remove_durably(self.path)


def _remove_durably(path: str) -> None:
    # One at a time: a record must not outlive one that came after it.
    disk.remove(path)
    disk.sync_folder(os.path.dirname(path))


class Journal:
    """
    The log.

    :param folder: where its segments are.
    :ivar dates: when the blobs were stored that :meth:`recover` has restored, in nanoseconds since
        the epoch, as far as that is known.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._changed = threading.Condition()
        self._settling = threading.Lock()
        self._segments: list[_Segment] = []
        self._current: _Segment | None = None
        self._number = 0
        self._is_stuck = False
        self.dates: dict[BlobName, int] = {}

    @property
    def size(self) -> int:
        """How many bytes are in it."""
        return sum(segment.size for segment in self._segments)

    def holds(self, name: BlobName) -> bool:
        """Tell whether a blob depends on it."""
        with self._changed:
            return any(name in segment.names for segment in self._segments)

    # -- writing ---------------------------------------------------------------------

    @contextmanager
    def kept(self, blobs: Sequence[NamedBlob], dates: Sequence[int] = ()) -> Iterator[None]:
        """
        Make blobs durable; in the block their files are put in their places, or it is noted that
        they are to be, which :meth:`settle` sees to at the latest.

        :param dates: when each was stored, in nanoseconds since the epoch.

        :raise OSError: they are not durable; the block has not been entered.
        """
        dated = zip(blobs, dates or [0] * len(blobs), strict=True)
        records = [
            part
            for (name, content), date in dated
            for part in _encode(_PUT, name, _DATE.pack(date), content)
        ]
        with self._appended(records, [name for name, _ in blobs]):
            yield

    def let_go(self, names: Collection[BlobName]) -> None:
        """
        Make it known, durably, that blobs do not depend on the log any more.

        Whatever happens to their files now counts; they have to be durable already.
        """
        records = [part for name in names for part in _encode(_KEEP, name)]
        with self._appended(records, []), self._changed:
            for segment in self._segments:
                segment.names.difference_update(names)

    @contextmanager
    def _appended(self, records: Sequence[bytes], names: Iterable[BlobName]) -> Iterator[None]:
        segment, end = self._append(records, names)
        try:
            with self._ending_if_it_fails(segment):
                segment.make_durable(end)
            yield
        finally:
            with self._changed:
                segment.users -= 1
                self._changed.notify_all()

    def _append(self, records: Sequence[bytes], names: Iterable[BlobName]) -> tuple[_Segment, int]:
        with self._changed:
            segment = self._current or self._begin()
            # Even if it fails: who knows what of it is on the disk.
            segment.names.update(names)
            with self._ending_if_it_fails(segment):
                segment.append(records)
            segment.users += 1
            return segment, segment.size

    @contextmanager
    def _ending_if_it_fails(self, segment: _Segment) -> Iterator[None]:
        try:
            yield
        except BaseException:
            # What comes after a record that is not whole would never be read.
            with self._changed:
                if self._current is segment:
                    self._current = None
            raise

    def _begin(self) -> _Segment:
        disk.make_folders(self._folder)
        if not self._number:
            disk.sync_folder(os.path.dirname(self._folder))
        self._number += 1
        self._current = _Segment(os.path.join(self._folder, f"{self._number:012}"))
        self._segments.append(self._current)
        return self._current

    # -- ending ----------------------------------------------------------------------

    def settle(
        self,
        make_durable: Callable[[Collection[BlobName]], None],
        place: Callable[[Collection[BlobName]], None] = lambda _: None,
    ) -> None:
        """
        Drop what is in it, once that is durable where it belongs.

        :param make_durable: makes the files of these names durable in their places.
        :param place: makes the files of those that have none yet, before, or appends them again.
            If it raises, the log keeps all until the next time.
        :raise OSError: they are not durable. The log then keeps all until the next start: files
            that a disk has lost once can look as if they were on it, and would not be told of
            again.
        """
        with self._settling:
            with self._changed:
                if self._is_stuck:
                    raise OSError(errno.EIO, "the disk has failed; the next start tries again")
                self._current = None
                ended = list(self._segments)
                self._changed.wait_for(lambda: not any(segment.users for segment in ended))
                names = {name for segment in ended for name in segment.names}
                for segment in ended:
                    segment.close()
            if not ended:
                return
            place(names)
            try:
                make_durable(names)
            except BaseException:
                self._is_stuck = True
                raise
            for segment in ended:
                segment.remove()
                with self._changed:
                    self._segments.remove(segment)

    def recover(
        self,
        restore: Callable[[BlobName, bytes], None],
        make_durable: Callable[[Collection[BlobName]], None],
        failed: Callable[[BlobName, bytes, OSError], None] | None = None,
    ) -> bool:
        """
        Put in order what the last process left; before anything else.

        :param restore: is called with every blob that depended on the log, to see to it that it
            is in its place, whole.
        :param make_durable: see :meth:`settle`.
        :param failed: told of each that can't be restored, and why: all stays in the log. If None,
            that is raised.
        :return: whether there was anything.
        """
        for segment in self._segments:
            segment.close()
        self._segments, self._current, self._is_stuck = [], None, False
        paths = _segments_in(self._folder)
        last = {
            record.name: (path, number, record.is_put)
            for path in paths
            for number, record in enumerate(_read(path))
        }
        self.dates.clear()
        are_all_restored = True
        for path in paths:
            for number, record in enumerate(_read(path)):
                if last[record.name] == (path, number, True):
                    self.dates[record.name] = record.date
                    try:
                        restore(record.name, record.content)
                    except OSError as error:
                        if failed is None:
                            raise
                        failed(record.name, record.content, error)
                        are_all_restored = False
        put = [name for name, (_, _, is_put) in last.items() if is_put]
        if last:
            make_durable(put)
        if are_all_restored:
            for path in paths:
                _remove_durably(path)
        else:
            # With those that were restored: the next start would restore them again.
            self._number = max(int(os.path.basename(path)) for path in paths)
            self._segments = [_Segment(path, put) for path in paths]
        return bool(last)
