"""A large payload on its way into a file of its own."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import apsw

from .. import disk
from ..errors import ClosedError, StoreError
from ..sqlite import KEY_SIZE, file_uri, transaction
from .connection import connect
from .digests import Digests
from .faults import store_error, store_errors

__all__ = ["PART", "FileKey", "PayloadWriter"]

PART = ".part"
"""Follows the name of a file that is not whole yet: nobody has recorded it."""

_WRITING = ("journal_mode=OFF", "synchronous=OFF", "cache_size=-2048")

_PAGE_SIZE = 1 << 16
"""Bytes of a page, as many as there can be: with fewer pages to write, large chunks go faster."""

_FLUSH_EVERY = 32
"""After how many chunks a file that is being written is brought to the disk."""


class FileKey(NamedTuple):
    """
    What opens a payload's file.

    :ivar name: the name in the folder.
    :ivar key: 32 random bytes.
    """

    name: str
    key: bytes

    def __repr__(self) -> str:
        return f"FileKey({self.name!r})"


class PayloadWriter:
    """
    A payload that is being written: nobody else can see it.

    Each method may be called in any thread, one after another or at once.

    :ivar file: its name and its key.
    :ivar digests: what is to be recorded of its chunks.
    """

    def __init__(self, folder: Path) -> None:
        self.file = FileKey(uuid4().hex, os.urandom(KEY_SIZE))
        self.digests = Digests()
        self._path = folder / (self.file.name + PART)
        self._lock = threading.Lock()
        self._connection: apsw.Connection | None = None
        self._count = 0
        self._flushed = 0
        self._flushing = False
        self._flush_lock = threading.Lock()
        self._flush_error: OSError | None = None
        self._discarded = False
        self._finished = False

    def append(self, chunks: Iterable[bytes | bytearray | memoryview]) -> None:
        """
        Add some chunks, in one transaction.

        :raise StoreError: they can't be written; what has been written is of no use then.
        :raise ClosedError: it was discarded.
        """
        with self._lock, self._errors():
            connection = self._open()
            with transaction(connection):
                for chunk in chunks:
                    self.digests.add(chunk)
                    connection.execute("INSERT INTO chunks VALUES (?, ?)", (self._count, chunk))
                    self._count += 1

    def _open(self) -> apsw.Connection:
        if self._discarded:
            raise ClosedError("what was being stored has been dropped")
        if self._connection is None:
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            # Nobody else opens it, so it needs no locks; with them, `flush` would lose them.
            self._connection = connect(
                file_uri(self._path, "nolock=1"),
                self.file.key,
                page_size=_PAGE_SIZE,
                pragmas=_WRITING,
            )
            self._connection.execute("CREATE TABLE chunks (number INTEGER PRIMARY KEY, data BLOB)")
        return self._connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            with store_errors(str(self._path)):
                yield
        except StoreError as error:
            if self._connection is not None and isinstance(error.__cause__, apsw.IOError):
                number = self._connection.system_errno
                raise store_error(error.__cause__, str(self._path), number) from error.__cause__
            raise

    def begin_flush(self) -> bool:
        """
        Ask whether much has been written that is not on the disk yet, nor on its way there.

        :return: if so, true, and :meth:`flush` has to be called.
        """
        if self._flushing or self._count - self._flushed < _FLUSH_EVERY:
            return False
        self._flushing = True
        return True

    def flush(self) -> None:
        """
        Bring what has been written to the disk, beside what goes on.

        Otherwise all of a large file would have to go there at the end, at once. It never
        fails: :meth:`finish` does if it has to.
        """
        self._flushed = self._count
        with self._flush_lock:
            try:
                disk.sync(self._path)
            except FileNotFoundError:
                pass  # It was discarded.
            except OSError as error:
                # The system tells of it once: another fsync would succeed.
                self._flush_error = error
        self._flushing = False

    def finish(self) -> None:
        """
        Bring it to the disk for good.

        :raise StoreError: it can't be written.
        :raise ClosedError: it was discarded.
        """
        with self._lock, self._errors():
            self._open().close()
            self._connection = None
            with self._flush_lock:
                if self._flush_error is not None:
                    raise self._flush_error
            disk.sync(self._path)
            self._path = self._path.rename(self._path.with_name(self.file.name))
            disk.sync(self._path.parent)
            self._finished = True

    def abandon(self) -> None:
        """Remove it unless it is finished: then it may have been recorded. Never fails."""
        with self._lock:
            finished = self._finished
        if not finished:
            self.discard()

    def discard(self) -> None:
        """Remove it. Never fails; what is left behind then goes at the next start."""
        with self._lock:
            self._discarded = True
            with suppress(apsw.Error):
                if self._connection is not None:
                    self._connection.close()
            self._connection = None
            with suppress(OSError):
                self._path.unlink()
