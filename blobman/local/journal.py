"""
What a crashed Soledad left half done, taken back.

A rollback journal holds the pages as they were before the transaction that did not end. SQLite
plays it back by itself, but SQLCipher's checksums are those of the encrypted pages, and the
SQLite here expects those of the clear ones: it would find none that fits, keep the half of the
transaction that got written, and remove the journal. So this plays back what SQLCipher wrote.
The format is SQLite's: https://www.sqlite.org/fileformat.html#the_rollback_journal
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ..errors import StoreError

__all__ = ["journal_of", "roll_back"]

_MAGIC = bytes.fromhex("d9d505f920a163d7")
_HEADER = struct.Struct(">8s5I")
_UNKNOWN = 0xFFFFFFFF
_LOCKS = (0x40000000, 512)
"""Where SQLite's locks on a database are: the first byte, and how many."""


class _Header(NamedTuple):
    records: int
    nonce: int
    pages: int
    sector: int
    page: int


def journal_of(path: Path) -> Path:
    """Name the rollback journal of a database."""
    return path.with_name(path.name + "-journal")


def roll_back(path: Path) -> None:
    """
    Take back what a transaction of SQLCipher left half done, if one did.

    :raise StoreError: another process is using the database.
    :raise OSError: it can't be read or written; the journal stays.
    """
    if not journal_of(path).exists():
        return
    with open(journal_of(path), "rb") as journal, open(path, "r+b") as database:
        _lock(database, path)
        header = _read_header(journal, 0)
        if header is None or not _is_sqlciphers(journal, header):
            return
        _play_back(journal, header, database)
        database.flush()
        os.fsync(database.fileno())
        os.unlink(journal.name)


def _lock(database: BinaryIO, path: Path) -> None:
    start, length = _LOCKS
    try:
        fcntl.lockf(database, fcntl.LOCK_EX | fcntl.LOCK_NB, length, start)
    except OSError as error:
        raise StoreError(f"{path} is in use by another program") from error


def _read_header(journal: BinaryIO, offset: int) -> _Header | None:
    journal.seek(offset)
    raw = journal.read(_HEADER.size)
    if len(raw) < _HEADER.size or not raw.startswith(_MAGIC):
        return None
    header = _Header(*_HEADER.unpack(raw)[1:])
    fits = 32 <= header.sector <= 65536 and 512 <= header.page <= 65536
    return header if fits else None


def _is_sqlciphers(journal: BinaryIO, header: _Header) -> bool:
    return header.records > 0 and next(_records(journal, header, header.sector), None) is not None


def _records(journal: BinaryIO, header: _Header, offset: int) -> Iterator[tuple[int, bytes]]:
    """Give the pages behind a header, with their numbers, up to one that was not written whole."""
    journal.seek(offset)
    done = 0
    while header.records == _UNKNOWN or done < header.records:
        raw = journal.read(header.page + 8)
        if len(raw) < header.page + 8:
            return
        number, checksum = struct.unpack(">I", raw[:4])[0], struct.unpack(">I", raw[-4:])[0]
        page = raw[4:-4]
        if number == 0 or checksum != _checksum(page, header.nonce):
            return
        yield number, page
        done += 1


def _checksum(page: bytes, nonce: int) -> int:
    return (nonce + sum(page[position] for position in range(len(page) - 200, 0, -200))) % 2**32


def _play_back(journal: BinaryIO, first: _Header, database: BinaryIO) -> None:
    """Write the old pages, and the old size. Doing it again does no harm."""
    database.truncate(first.pages * first.page)
    header: _Header | None = first
    offset = 0
    while header is not None:
        begin = offset + first.sector
        header = header._replace(page=first.page)
        done = 0
        for number, page in _records(journal, header, begin):
            if number <= first.pages:
                database.seek((number - 1) * first.page)
                database.write(page)
            done += 1
        if done < header.records:
            return
        end = begin + done * (first.page + 8)
        offset = -(-end // first.sector) * first.sector
        header = _read_header(journal, offset)
