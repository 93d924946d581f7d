"""
The journal in which blobman kept small blobs before it had a catalogue.

It is a folder of segments. A segment is a row of records::

    kind       1 byte    b"D": the blob is to be there; b"K": what is in its place is right
    name       4 bytes   length, big-endian
    content    4 bytes   length, big-endian
    checksum   4 bytes   CRC-32 of name, date and content, big-endian
    name                 JSON: [user, namespace, id]
    date       8 bytes   nanoseconds since the epoch, big-endian, 0 if not known; not in "K"
    content              the sealed blob; empty in "K"

A record of the kind b"P", of still earlier versions, is one of the kind b"D" without the date. The
last record of a name counts. What a crash cut short is at the end of a segment; anything else that
is no record is damage, and the records after it are searched for. No I/O.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from ....model import is_name
from ..interface import BlobName

_HEADER = struct.Struct(">cIII")
_DATE_SIZES = {b"D": 8, b"P": 0, b"K": 0}
_KEEP = b"K"

_LONGEST_NAME = 1024
_LARGEST_CONTENT = 1024 * 1024
"""Bytes; all that was ever written is smaller. It keeps a search from being lengthy."""

_NAME_BEGINS = b'["'


class Segment(Protocol):
    """The bytes of a segment, which need not be in memory."""

    def __len__(self) -> int:
        """Tell how many there are."""

    def __getitem__(self, part: slice, /) -> bytes:
        """Give some of them."""

    def find(self, wanted: bytes, start: int, /) -> int:
        """Give the place of the first such bytes from ``start`` on; -1 if there are none."""


class Record(NamedTuple):
    """
    What is said of a blob.

    :ivar is_put: whether it is to be there with this content; else the files are right.
    :ivar date: when it was put, in nanoseconds since the epoch; 0 if that is not known.
    :ivar start: where the content begins in the segment.
    :ivar end: where it, and the record, ends.
    """

    is_put: bool
    name: BlobName
    date: int
    start: int
    end: int


class Gap(NamedTuple):
    """
    A part of a segment that is no record, or not a whole one.

    :ivar start: where it begins in the segment.
    :ivar end: where the next record begins, or the segment ends.
    """

    start: int
    end: int


class _Header(NamedTuple):
    kind: bytes
    name: int
    date: int
    content: int
    end: int
    checksum: int


def read_segment(segment: Segment) -> Iterator[Record | Gap]:
    """Read all of a segment: what is given joins from its beginning to its end."""
    at = 0
    while at < len(segment):
        record = _record_at(segment, at)
        if record is None:
            end = _next_record(segment, at)
            yield Gap(at, end)
            at = end
        else:
            yield record
            at = record.end


def _header_at(segment: Segment, at: int) -> _Header | None:
    """Read a header; give None if it can't be one of a record that is all there."""
    raw = segment[at : at + _HEADER.size]
    if len(raw) < _HEADER.size:
        return None
    kind, name_size, content_size, checksum = _HEADER.unpack(raw)
    if kind not in _DATE_SIZES or name_size > _LONGEST_NAME or content_size > _LARGEST_CONTENT:
        return None
    if (kind == _KEEP) != (content_size == 0):
        # The checksum is not of the kind.
        return None
    name = at + _HEADER.size
    date = name + name_size
    content = date + _DATE_SIZES[kind]
    end = content + content_size
    return _Header(kind, name, date, content, end, checksum) if end <= len(segment) else None


def _record_at(segment: Segment, at: int) -> Record | None:
    """Read a record; give None if there is none that is right."""
    header = _header_at(segment, at)
    if header is None or zlib.crc32(segment[header.name : header.end]) != header.checksum:
        return None
    name = _read_name(segment[header.name : header.date])
    if name is None:
        return None
    date = int.from_bytes(segment[header.date : header.content], "big")
    return Record(header.kind != _KEEP, name, date, header.content, header.end)


def _read_name(text: bytes) -> BlobName | None:
    try:
        parts = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(parts, list) or len(parts) != len(BlobName._fields):
        return None
    if not all(isinstance(part, str) and is_name(part) for part in parts):
        return None
    return BlobName(*parts)


def _next_record(segment: Segment, at: int) -> int:
    """
    Find the first record after one that is damaged; give the end of the segment if there is none.

    Where that one's header makes sense, what it holds is not searched: a user may have put there
    what looks like a record.
    """
    header = _header_at(segment, at)
    if header is not None and (header.end == len(segment) or _record_at(segment, header.end)):
        return header.end
    found = segment.find(_NAME_BEGINS, at + _HEADER.size + 1)
    while found >= 0:
        if _record_at(segment, found - _HEADER.size) is not None:
            return found - _HEADER.size
        found = segment.find(_NAME_BEGINS, found + 1)
    return len(segment)
