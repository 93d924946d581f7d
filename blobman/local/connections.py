"""The connections to a store's database: what is seen to before the first and after the last."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

import apsw

from ..errors import StoreError, StoreFullError
from ..sqlite import LogFile, log_of, pragma, transaction
from . import payload_rows, schema, strays
from .acknowledged import Acknowledged
from .connection import connect, derive_key
from .faults import store_errors
from .lock import StoreLock
from .payloads import PayloadFiles
from .room import Room
from .takeover import TakeOver
from .wholeness import check_database, check_not_lost, check_together, length_of

__all__ = ["Connections"]

_PRAGMAS = ("synchronous=FULL", "foreign_keys=ON", "cache_size=-2048", "secure_delete=FAST")

_LOOK_AGAIN = 0.01
"""Seconds between two attempts at what SQLite does not wait for."""


class Connections:
    """
    Opens a database, a connection for each thread.

    :param path: its file.
    :param key: the application's key.
    :param patience: how many seconds to wait for another process that is writing.
    :param is_closed: whether nobody wants it any more.
    :param payloads: the files of the large payloads.
    :param external_namespaces: see :func:`.inherit`.
    :ivar room: the room that it has on the disk.
    """

    def __init__(
        self,
        path: Path,
        key: bytes,
        patience: float,
        is_closed: Callable[[], bool],
        payloads: PayloadFiles,
        external_namespaces: Collection[str] = (),
    ) -> None:
        self.path = path
        self.room = Room(path)
        self._key = derive_key(key)
        self._take_over = TakeOver(path, key, self._key, patience, is_closed, external_namespaces)
        self._patience = patience
        self._payloads = payloads
        self._opening = threading.Lock()
        self._local = threading.local()
        self._connections: list[apsw.Connection] = []
        self._lock: StoreLock | None = None
        self._log: LogFile | None = None
        self._acknowledged: Acknowledged | None = None
        self._place: tuple[int, int] | None = None

    def get(self) -> apsw.Connection:
        """
        Give this thread its connection.

        :raise StoreError: the database can't be opened; the next call tries again.
        """
        connection: apsw.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            with self._opening, store_errors(str(self.path)):
                connection = self._local.connection = self._open()
        return connection

    def be_open(self) -> None:
        """Open the database if nobody has; before a file is made, which opening might move."""
        if self._lock is None:
            self.get()

    # Opening

    def _open(self) -> apsw.Connection:
        if self._lock is not None:
            self.check_place()
            connection = self._connect()
        else:
            try:
                connection = self._open_first()
            except StoreFullError:
                # The index of the log needs a little.
                self.room.give_up_reserve()
                connection = self._open_first()
        self._connections.append(connection)
        return connection

    def _connect(self) -> apsw.Connection:
        self.room.open()
        return connect(str(self.path), self._key, patience=self._patience, pragmas=_PRAGMAS)

    def _open_first(self) -> apsw.Connection:
        check_not_lost(self.path, self._payloads.folder)
        _make_folder(self.path.parent)
        with suppress(FileExistsError):
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL, 0o600))
        connection = self._take_over.open(self._connect)
        try:
            self._begin(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _begin(self, connection: apsw.Connection) -> None:
        lock = StoreLock(self.path.with_suffix(".lock"))
        try:
            acknowledged = Acknowledged(lock.descriptor, self.path, length_of(connection)[1])
            lock.share(lambda: self._prepare(connection, acknowledged))
            self._bring_up_to_date(connection)
            place = self.path.stat()
            self._log = LogFile(log_of(self.path))
        except BaseException:
            lock.release()
            raise
        self._place = place.st_dev, place.st_ino
        self._acknowledged = acknowledged
        self._lock = lock

    def _prepare(self, connection: apsw.Connection, acknowledged: Acknowledged) -> None:
        """Check everything, then settle what a crash has left; nobody else has the store."""
        self._check(connection, acknowledged)
        self._bring_up_to_date(connection)
        acknowledged.note_use()
        self._settle_files(connection)
        with suppress(apsw.FullError):
            self.room.keep_reserve()

    def _check(self, connection: apsw.Connection, acknowledged: Acknowledged) -> None:
        frames, _ = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
        log = LogFile(log_of(self.path)) if log_of(self.path).exists() else None
        try:
            acknowledged.check(log, frames)
            check_database(connection, self.path, log, frames)
            if frames and log is not None:
                check_together(connection, self.path)
                # Without room, it is brought home when there is some.
                with suppress(apsw.Error, OSError):
                    last = log.read_frame(frames, length_of(connection)[1])
                    self.room.take_back(connection, 0 if last is None else last.pages)
        finally:
            if log is not None:
                log.close()

    def _bring_up_to_date(self, connection: apsw.Connection) -> None:
        self._keep_a_log(connection)
        schema.upgrade(connection, str(self.path))

    def _keep_a_log(self, connection: apsw.Connection) -> None:
        # For this SQLite does not wait by itself while another one has the database open.
        deadline = time.monotonic() + self._patience
        while not _log_is_kept(connection):
            if time.monotonic() >= deadline:
                raise StoreError(f"{self.path} is locked by another process")
            time.sleep(_LOOK_AGAIN)

    def _settle_files(self, connection: apsw.Connection) -> None:
        gone = self._payloads.remove(payload_rows.list_going(connection))
        strays.settle(self._payloads.folder, payload_rows.list_files(connection))
        # Without room they stay noted, until there is some.
        if gone:
            with suppress(apsw.Error), transaction(connection):
                payload_rows.forget_gone(connection, gone)

    # Writing

    def check_place(self) -> int:
        """
        See whether the files that are open are those that a new connection would open.

        :return: how many bytes the database has.
        :raise StoreError: they have been moved or removed, so that what is written is lost.
        """
        try:
            place = self.path.stat()
            same = (place.st_dev, place.st_ino) == self._place
            if same and self._log is not None and self._log.is_in_place():
                return place.st_size
        except OSError:
            pass
        raise StoreError(
            f"{self.path} is another file than it was, or none: the store was moved or removed "
            "while it was open. Close it, and open it where it is"
        )

    def check_log(self) -> None:
        """
        See whether nobody has cut or overwritten the log; while no other process can write.

        :raise StoreError: somebody has, so that what is written is lost.
        """
        if self._log is not None and not self._log.is_whole():
            raise StoreError(
                f"{log_of(self.path)} was damaged while the store was open. Close the store, and "
                "put that file back"
            )

    def note_commit(self, frames: int) -> None:
        """Note that the log has so many frames, before anybody is told of them."""
        assert self._acknowledged is not None and self._log is not None
        # What is committed stays so; an older note asks for less.
        with suppress(OSError):
            self._acknowledged.note_commit(self._log, frames)

    def empty_log(self, connection: apsw.Connection) -> None:
        """
        Bring the log into the database, and give its room back.

        :raise apsw.Error: somebody is in the way.
        :raise OSError: the disk is.
        """
        assert self._acknowledged is not None
        self._acknowledged.clear()
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)

    # Closing

    def close(self) -> None:
        """Close them all. The last one of a store brings its log into the database."""
        for connection in self._connections[1:]:
            _close(connection)
        for connection in self._connections[:1]:
            self._close_last(connection)
        self.room.close()
        if self._log is not None:
            self._log.close()
        if self._lock is not None:
            self._lock.release()

    def _close_last(self, connection: apsw.Connection) -> None:
        assert self._lock is not None and self._acknowledged is not None
        with suppress(StoreError, OSError, apsw.FullError):
            self.check_place()
            if self._lock.try_alone():
                self.check_log()
                self._acknowledged.clear()
                connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
                _close(connection)
                self.room.keep_reserve()
        _close(connection)


def _close(connection: apsw.Connection) -> None:
    with suppress(apsw.Error):
        connection.close()


def _make_folder(path: Path) -> None:
    # Not os.makedirs: it would give the folders above the mode that the umask leaves.
    if not path.exists():
        _make_folder(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)


def _log_is_kept(connection: apsw.Connection) -> bool:
    try:
        pragma(connection, "journal_mode=WAL")
    except apsw.BusyError:
        return False
    return True
