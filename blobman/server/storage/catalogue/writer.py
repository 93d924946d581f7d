"""
The one who writes a catalogue in SQLite. Whatever waits is committed together.

What is refused has written nothing, so that the others go on. If anything else fails, each piece
of work is tried again in a transaction of its own, so that none fails for another one's sake.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import groupby
from typing import Any

import apsw
from twisted.logger import Logger

from .... import disk
from ....errors import BlobError
from ....threads import Work
from ..interface import DamagedError, UnavailableError
from ..payloads.interface import LINGER
from .connection import (
    Adopt,
    as_store_error,
    check_length,
    connect,
    store_errors,
    upgrade,
)
from .folder import CatalogueFolder, take_lock
from .history import begin_generation, begin_only_generation, forget_tombstones
from .interface import Publication
from .log import WriteAheadLog
from .marker import Marker
from .pairing import check_pairing, first_transaction
from .questions import Questions
from .room import Room
from .transaction import Transaction

PATIENCE = 1.0
"""Seconds to wait for the lock: an administrator's command has it for a moment."""

CACHE = 4 * 1024 * 1024
"""Bytes of pages that the writer keeps in memory."""

LOG_LIMIT = 64 * 1024 * 1024
"""Bytes of the log that are too many to wait for a quiet moment before they are moved."""


class Growing:
    """Work by which more comes in: it is refused where there is only room for deletions."""

    def __init__(self, call: Callable[[Transaction], Any]) -> None:
        self._call = call

    def __call__(self, transaction: Transaction) -> Any:
        """Do it."""
        return self._call(transaction)


class Publishing(Growing):
    """Work that publishes: what several callers publish is done with the same statements."""

    def __init__(self, blobs: Sequence[Publication]) -> None:
        super().__init__(lambda it: it.publish(blobs))
        self.blobs = blobs


class Writer:
    """
    Writes. All of it blocks, and is called by one thread at a time.

    :param folder: where the catalogue is.
    :param now: gives nanoseconds since the epoch.
    :param adopt: fills a catalogue that has just been made.
    :param announce: told, after each commit, the users and namespaces in which something changed;
        after one that failed, too.
    :param linger: seconds for which the payloads of deleted blobs are kept.
    """

    _log = Logger()

    def __init__(
        self,
        folder: CatalogueFolder,
        now: Callable[[], int],
        adopt: Adopt | None = None,
        announce: Callable[[Iterable[tuple[str, str]]], object] = lambda places: None,
        linger: int = LINGER,
    ) -> None:
        self._linger = linger
        self._adopt = adopt
        self._announce = announce
        self._changed: set[tuple[str, str]] = set()
        self._folder = folder
        self._now = now
        self._marker = Marker(folder.join("last-number"))
        self._wal = WriteAheadLog(folder)
        self._room = Room(folder.path, folder.join("reserve"))
        self._lock = -1
        self._connection: apsw.Connection | None = None
        self._last: int | None = None
        self._latest = 0
        self._is_new_generation = True
        self._skipped = 0

    # -- opening and closing -----------------------------------------------------------

    def open(self) -> None:
        """
        Open the catalogue, for this process alone; see :class:`~.interface.ICatalogue`.

        :raise StoreError: it can't be opened, or lacks what it had.
        """
        try:
            self._open(self._check_history)
        except UnavailableError:
            # The disk may be full, and it can be read all the same.
            if not self._room.give_up_reserve():
                raise
            self._open(self._check_history)

    def begin_history(self) -> int:
        """
        Take the catalogue as it is for the right one, whatever was acknowledged later, and have
        clients compare everything with it; see :mod:`.history`. Then it is closed.

        :return: the last number that was given.
        :raise StoreError: it can't be opened or written.
        """
        self._open(self._forget_history)
        last = self._last_number()
        self.close()
        return last

    def _open(self, check: Callable[[int], None]) -> None:
        try:
            with store_errors():
                self._take_place()
                self._check_log()
                acknowledged = self._marker.open()
                self._make_tables(acknowledged)
                self._is_new_generation = True
                check(acknowledged)
                if self._folder.path:
                    self._folder.remember()
                    self._wal.remember()
                    self.rest()
                    check_length(self.connection(), self._folder.path)
                self._begin_process()
        except BaseException:
            # A log that is damaged has older pages than the catalogue: nothing is moved out of it.
            self._release()
            raise

    def _take_place(self) -> None:
        if not self._folder.folder:
            return
        disk.make_durable_folder(self._folder.folder, above=2)
        self._folder.refuse_backup()
        self._lock = take_lock(self._folder, PATIENCE)

    def _check_log(self) -> None:
        """See that the log is that of the database, and has all that has been moved out of it."""
        self._wal.open()
        if self._folder.path and os.path.exists(self._folder.path):
            check_pairing(self._folder.path)
            if frames := self._wal.check(self.connection()):
                self._room.take_back(self.connection(), frames)

    def _make_tables(self, acknowledged: int) -> None:
        """Make what is missing; unless it was there, and has gone."""
        path = self._folder.path
        if path and not (os.path.exists(path) and os.path.getsize(path)):
            if acknowledged:
                raise DamagedError("the catalogue is gone, or empty, and has been neither")
            if not os.path.exists(path):
                os.close(disk.create(path))
            disk.sync(self._folder.folder)
        upgrade(self.connection(), self._adopt)

    def _check_history(self, acknowledged: int) -> None:
        """Hold the last number against the one that was acknowledged."""
        last = self._last_number()
        if acknowledged > last:
            raise DamagedError(
                f"the catalogue has lost changes: it ends with number {last}, and "
                f"{acknowledged} was acknowledged. If an older one was put back, say so: blobman "
                "server restored. If not, its log is damaged or missing: blobman server check"
            )
        if acknowledged < last:
            self._mark(last)

    def _forget_history(self, acknowledged: int) -> None:
        last = self._last_number()
        with first_transaction(self.connection()):
            forget_tombstones(self.connection())
            begin_only_generation(self.connection(), last + 1)
        self._marker.write(last)
        self._marker.sync()

    def _begin_process(self) -> None:
        connection = self.connection()
        try:
            with first_transaction(connection):
                self._begin().end_all_uploads()
                generations = Questions(connection).generations()
                if not generations:
                    begin_generation(connection, self._last_number() + 1)
            self._is_new_generation = bool(generations)
            # One without changes stays: cursors name it. The next begins behind its first number.
            self._skipped = generations[-1].first if generations else 0
        except apsw.Error as error:
            # It can be read all the same. Uploads end by themselves, only later.
            self._log.error("The catalogue can't be written: {reason}", reason=str(error))

    def connection(self) -> apsw.Connection:
        """
        Give the connection; open it anew if the last one failed.

        :raise StoreError: it can't be opened.
        """
        if self._connection is None:
            self._room.open()
            connection = connect(self._folder.path, CACHE)
            if self._folder.path:
                self._wal.follow(connection)
            self._connection = connection
        return self._connection

    def close(self) -> None:
        """Close it, and let others have it. May be called twice."""
        self.rest()
        self._release()

    def _release(self) -> None:
        self._drop_connection()
        self._room.close()
        self._folder.forget()
        self._wal.close()
        self._marker.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _last_number(self) -> int:
        if self._last is None:
            self._last = Questions(self.connection()).last_number()
        return self._last

    def _drop_connection(self) -> None:
        connection, self._connection, self._last = self._connection, None, None
        if connection is not None:
            with suppress(apsw.Error):
                connection.close()

    def rest(self) -> None:
        """Move what is in the log to its place in the file."""
        if self._connection is None or not self._folder.path:
            return
        self._room.moved()
        with suppress(apsw.Error, OSError, DamagedError):
            self._wal.move(self._connection)

    # -- writing -----------------------------------------------------------------------

    def run(self, works: Sequence[Work[Any]]) -> None:
        """Do pieces of work, each of which is called with a :class:`.Transaction`."""
        if works and not self._try(works):
            for work in works:
                self._try([work])
        if self._wal.size > LOG_LIMIT:
            self.rest()
        changed, self._changed = self._changed, set()
        self._announce(changed)

    def _try(self, works: Sequence[Work[Any]]) -> bool:
        """Do them in one transaction. Give false if that failed and they may be done one by one."""
        try:
            self._folder.check()
            results = self._commit(works)
        except Exception as error:
            is_taken_back = self._is_taken_back()
            if is_taken_back and len(works) > 1:
                return False
            if is_taken_back and isinstance(error, apsw.FullError) and self._clear_for(*works):
                return self._try(works)
            for work in works:
                work.fail(as_store_error(error))
            return True
        for work, result in zip(works, results, strict=True):
            if isinstance(result, BlobError):
                work.fail(result)
            else:
                work.succeed(result)
        return True

    def _clear_for(self, work: Work[Any]) -> bool:
        """Make room for what will make more. Give false if that is not possible."""
        if isinstance(work.call, Growing):
            return False
        has_log, had_reserve = self._wal.size > 0, self._room.give_up_reserve()
        self.rest()
        # A log that has been moved is begun anew.
        return had_reserve or (has_log and not self._wal.size)

    def _is_taken_back(self) -> bool:
        """
        Tell whether a transaction that failed has left nothing.

        If that is not certain, it needs a new connection: to that one, it may have happened.
        Otherwise the old one stays. If it were the last one, the next would read the log as after
        a crash, and believe what could be written, but not synced.
        """
        if self._connection is None or not self._connection.in_transaction:
            return True
        self._drop_connection()
        return False

    def _begin(self) -> Transaction:
        last = max(self._last_number(), self._skipped)
        return Transaction(self.connection(), last, self._now(), self._latest, self._linger)

    def _commit(self, works: Sequence[Work[Any]]) -> list[Any]:
        connection = self.connection()
        with self._wal.transaction(connection):
            if any(isinstance(work.call, Growing) for work in works):
                self._room.keep_reserve()
            changes = self._begin()
            first = changes.last + 1
            results = list(_perform(changes, works))
            changes.finish()
            # Before it is certain: whoever waits is told for nothing rather than not at all.
            self._changed.update(changes.changed())
            if self._is_new_generation and changes.last >= first:
                begin_generation(connection, first)
            self._room.take_for(connection)
        self._latest = changes.latest
        if changes.last >= first:
            self._last = changes.last
            self._is_new_generation = False
            self._mark(changes.last)
        return results

    def _mark(self, last: int) -> None:
        try:
            self._marker.write(last)
        except OSError as error:
            # The changes are there all the same. The file says less than it could, until the next.
            self._log.error("The last number can't be noted: {reason}", reason=str(error))


def _perform(changes: Transaction, works: Sequence[Work[Any]]) -> Iterator[Any]:
    for publishes, same in groupby(works, lambda work: isinstance(work.call, Publishing)):
        if not publishes:
            for work in same:
                yield _attempt(work, changes)
            continue
        group = list(same)
        outcomes = iter(changes.publish([blob for work in group for blob in work.call.blobs]))
        for work in group:
            yield [next(outcomes) for _ in work.call.blobs]


def _attempt(work: Work[Any], changes: Transaction) -> Any:
    """Do it; give the error if it is refused."""
    try:
        return work.call(changes)
    except BlobError as error:
        return error
