"""The payloads of a catalogue, and the files that are to hold them."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

import apsw

from .... import disk
from ....protocol import TAG_SIZE
from ....sqlite import ask
from ..digests import CHUNK, is_chunk
from ..interface import BlobName
from ..payloads.folder import FOLDER, path_of

AT_ONCE = 500
"""Rows that are read together. None are held longer than that, so that the log can be emptied."""

_STORE = "SELECT 1 FROM store"

_ROWS = """
    SELECT b.blob, p.user, p.namespace, b.id, b.key, b.size, b.tag, d.digests
    FROM blobs AS b JOIN places AS p USING (place) LEFT JOIN digests AS d USING (blob)
    WHERE b.blob > ? AND b.key IS NOT NULL ORDER BY b.blob LIMIT ?
"""


class Payload(NamedTuple):
    """
    What the catalogue says of a payload.

    :ivar blob: the blob's row.
    :ivar digests: of its chunks; empty if none were recorded.
    """

    blob: int
    name: BlobName
    key: str
    size: int
    tag: bytes
    digests: bytes

    @property
    def path(self) -> str:
        """Where it is, from the data folder."""
        return path_of(self.key)


def are_apart(connection: apsw.Connection) -> bool:
    """Tell whether the payloads are in another store, and not in files beside the catalogue."""
    return connection.table_exists("main", "store") and bool(ask(connection, _STORE))


def read_payloads(connection: apsw.Connection) -> Iterator[Payload]:
    """Read what the catalogue says of all payloads that are files. It may change meanwhile."""
    if are_apart(connection):
        return
    last = -1
    while rows := ask(connection, _ROWS, (last, AT_ONCE)):
        for blob, user, namespace, blob_id, key, size, tag, digests in rows:
            name = BlobName(user, namespace, blob_id)
            yield Payload(blob, name, key, size, tag, digests or b"")
        last = rows[-1][0]


def is_current(connection: apsw.Connection, payload: Payload) -> bool:
    """Tell whether a blob still has that payload. One that has been deleted is kept for a while."""
    statement = "SELECT 1 FROM blobs WHERE blob = ? AND key = ?"
    return bool(ask(connection, statement, (payload.blob, payload.key)))


def fault_of(root: str, payload: Payload, deep: bool) -> str | None:
    """
    Look whether a payload is as the catalogue says.

    :param root: the data folder.
    :param deep: read all of it, if digests of it were recorded.
    :return: what is wrong with it; None if nothing is.
    """
    try:
        with disk.opened(os.path.join(root, payload.path)) as descriptor:
            return _fault_of(descriptor, payload, deep)
    except FileNotFoundError:
        return "it is missing"
    except OSError as error:
        return f"it can't be read: {error.strerror}"


def _fault_of(descriptor: int, payload: Payload, deep: bool) -> str | None:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        return "it is no file"
    if status.st_size != payload.size:
        return f"it has {status.st_size} bytes instead of {payload.size}"
    if os.pread(descriptor, TAG_SIZE, max(0, payload.size - TAG_SIZE)) != payload.tag:
        return "its tag is another one"
    if deep:
        for number, start in enumerate(range(0, payload.size, CHUNK)):
            if not is_chunk(payload.digests, number, os.pread(descriptor, CHUNK, start)):
                return f"its bytes from {start} on are not those that were written"
    return None


class Carrier:
    """
    Brings payloads into another data folder: as hard links where that is possible, else as copies.
    No payload is ever written again, so that both folders can have the same file.

    :ivar linked: how many are links.
    :ivar copied: how many are copies.
    """

    def __init__(self, source: str, target: str) -> None:
        self._source = source
        self._target = target
        self._heirs = disk.Heirs()
        self.linked = self.copied = 0

    def bring(self, payload: Payload) -> bool:
        """
        Bring a payload, if it is not there already. It is durable once its folder is.

        :return: whether it is there; else it is not, or not as long as it has to be.
        :raise OSError: it can't be read or written.
        """
        source = os.path.join(self._source, payload.path)
        target = os.path.join(self._target, payload.path)
        if os.path.lexists(target):
            return True
        if not _has_size(source, payload.size):
            return False
        disk.make_folders(os.path.dirname(target), self._heirs)
        try:
            os.link(source, target)
            self.linked += 1
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
                raise
            # Another file system, too many links, somebody else's file, ...
            self._copy(source, target)
            self.copied += 1
        return True

    def _copy(self, source: str, target: str) -> None:
        with disk.opened(source) as reading:
            copy_file(reading, target, self._heirs)


def _has_size(path: str, size: int) -> bool:
    """Tell whether there is a file of so many bytes."""
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size == size


def copy_file(reading: int, target: str, heirs: disk.Heirs | None = None) -> None:
    """
    Copy an open file, durably but for the entry of its folder.

    :raise OSError: it can't be read or written; then there is no copy.
    """
    with disk.creating(target, heirs) as writing:
        while data := os.read(reading, 1024 * 1024):
            disk.write_all(writing, data)


class Keys:
    """
    The keys that a catalogue knows: of payloads, of uploads, and of garbage. They are put into a
    temporary table on the disk.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        connection.execute("PRAGMA temp_store = FILE").fetchall()
        connection.execute("CREATE TEMP TABLE known (key TEXT PRIMARY KEY) WITHOUT ROWID")
        self.read()

    def read(self) -> None:
        """Read them again."""
        self._connection.execute("DELETE FROM known")
        for table in ("blobs", "uploads", "garbage"):
            self._connection.execute(
                f"INSERT OR IGNORE INTO known SELECT key FROM {table} WHERE key IS NOT NULL"
            )

    def __contains__(self, key: str) -> bool:
        """Tell whether the catalogue knew it."""
        return bool(ask(self._connection, "SELECT 1 FROM known WHERE key = ?", (key,)))


def strays(root: str, connection: apsw.Connection, folder: str = FOLDER) -> Iterator[str]:
    """
    Find what lies among payloads and is none. A server may run.

    :param folder: where to look, from the data folder. Elsewhere than in the folder of payloads,
        a file is one that was adopted.
    :return: paths from the data folder.
    """
    keys = Keys(connection)

    def is_stray(path: str) -> bool:
        key = os.path.basename(path) if path.startswith(FOLDER + os.sep) else path
        return path_of(key) != path or key not in keys

    for top, folders, files in os.walk(os.path.join(root, folder)):
        names = [*files, *(it for it in folders if os.path.islink(os.path.join(top, it)))]
        paths = [os.path.relpath(os.path.join(top, name), root) for name in names]
        if unknown := list(filter(is_stray, paths)):
            # They may have come, or gone, since the keys were read. A key is there before its file.
            keys.read()
            yield from (
                path
                for path in unknown
                if is_stray(path) and os.path.lexists(os.path.join(root, path))
            )


def sync_folders(root: str) -> None:
    """Make the entries of a folder, and of all below it, durable."""
    for top, _, _ in os.walk(root, topdown=False):
        with suppress(FileNotFoundError):
            disk.sync(top)
