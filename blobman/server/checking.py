"""
Hold what the index says against the files.

With many files this takes long, and in a thread it would get in the way of others, and they in
its way, at each of them. So it is a program, too: it reads requests from its standard input, one
in a line, and writes the answers to its standard output. It imports nothing of the package, and so
begins in a moment and takes little memory.
"""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

FLAGS = ".flags"
TOMBSTONE = ".deleted"
LONGEST = 255
"""Bytes of a file's name."""


class Request(NamedTuple):
    """
    What is to be checked.

    :ivar statement: gives rows of the index: an id, the size of the blob, its modification time
        or that of the tombstone, and what identifies the file of the flags (:func:`mark_of`), or
        NULL if that does not matter.
    :ivar values: the parameters of the statement.
    :ivar folder: the path of the namespace.
    :ivar are_tombstones: whether the rows are about tombstones.
    """

    statement: str
    values: list[str | int]
    folder: str
    are_tombstones: bool


def differing(index: sqlite3.Connection, request: Request) -> list[str]:
    """
    Check.

    :return: the ids whose files are not what the index says, or can't be told here: those so long
        that their other files have names of another form.
    """
    find = _differing_tombstones if request.are_tombstones else _differing_blobs
    return list(find(index.execute(request.statement, request.values), request.folder))


def mark_of(status: os.stat_result) -> int:
    """Give a number that is another one when a file has been replaced, or written to."""
    mark = status.st_ctime_ns ^ status.st_ino * 1_000_003 ^ status.st_size * 1_000_033
    return mark & (2**63 - 1)


def _differing_blobs(rows: sqlite3.Cursor, namespace: str) -> Iterator[str]:
    lstat, is_regular = os.lstat, stat.S_ISREG
    for blob_id, size, changed, mark in rows:
        leaf = f"{namespace}/{blob_id[:1]}/{blob_id[:3]}/{blob_id[:6]}/"
        try:
            status = lstat(leaf + blob_id)
        except (FileNotFoundError, NotADirectoryError):
            yield blob_id
            continue
        if (
            status.st_mtime_ns != changed
            or status.st_size != size
            or not is_regular(status.st_mode)
            or (mark is not None and _mark_beside(leaf, blob_id) != mark)
        ):
            yield blob_id


def _mark_beside(leaf: str, blob_id: str) -> int:
    if len(blob_id) + len(FLAGS) > LONGEST:
        return -1
    try:
        status = os.lstat(leaf + blob_id + FLAGS)
    except (FileNotFoundError, NotADirectoryError):
        return 0
    return mark_of(status) if stat.S_ISREG(status.st_mode) else 0


def _differing_tombstones(rows: sqlite3.Cursor, namespace: str) -> Iterator[str]:
    for blob_id, _, changed, _ in rows:
        leaf = f"{namespace}/{blob_id[:1]}/{blob_id[:3]}/{blob_id[:6]}/"
        if len(blob_id) + len(TOMBSTONE) > LONGEST:
            yield blob_id
            continue
        try:
            status = os.lstat(leaf + blob_id + TOMBSTONE)
        except (FileNotFoundError, NotADirectoryError):
            yield blob_id
            continue
        if status.st_mtime_ns != changed or not stat.S_ISREG(status.st_mode):
            yield blob_id


def serve(path: str, read: Callable[[], bytes], write: Callable[[bytes], object]) -> None:
    """
    Answer requests, until there are no more.

    :param path: the index.
    :param read: gives the next line; nothing at the end.
    :param write: takes a line.
    """
    index = sqlite3.connect(path)
    index.execute("PRAGMA query_only = 1")
    while line := read():
        write(json.dumps(differing(index, Request(*json.loads(line)))).encode() + b"\n")
    index.close()


def _write(line: bytes) -> None:
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    serve(sys.argv[1], sys.stdin.buffer.readline, _write)
