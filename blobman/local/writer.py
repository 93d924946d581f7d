"""
Group commit: all writes that wait become durable together, and still fail one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import apsw
from twisted.internet.defer import CancelledError

from ..errors import StoreError
from ..sqlite import transaction
from .connections import Connections
from .faults import is_full, store_error
from .workers import Job, run_together

__all__ = ["Writer"]

_LARGE = 1000
"""Pages in the log that are brought into the database when nothing is written."""

_CROWDED = 3000
"""Pages that are not left in the log even while something is."""

_OVERFULL = 4000
"""Pages for which readers who are in the way are waited for."""


class Writer:
    """
    Runs batches of writes in the writer's thread.

    :param connections: where it gets its own.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._path = str(connections.path)
        self._room = connections.room
        self._connection: apsw.Connection | None = None
        self._log_pages = 0
        self._noted = True

    def run(self, jobs: Sequence[Job[Any]]) -> None:
        """Do some jobs in one transaction; if it fails as a whole, each in its own."""
        try:
            connection = self._open()
        except Exception as error:
            _fail(jobs, error)
            return
        try:
            self._run_making_room(connection, jobs)
        except apsw.BusyError as error:
            _fail(jobs, store_error(error, self._path))
        except Exception as error:
            if len(jobs) == 1:
                self._fail_alone(connection, jobs[0], error)
            else:
                for job in jobs:
                    self.run([job])

    def _run_making_room(self, connection: apsw.Connection, jobs: Sequence[Job[Any]]) -> None:
        """Do some jobs; on a full disk once more with an empty log, and with the reserve."""
        try:
            self._run_together(connection, jobs)
            return
        except Exception as error:
            if not is_full(error, connection.system_errno):
                raise
        with suppress(apsw.Error, OSError):
            self._connections.empty_log(connection)
        try:
            self._run_together(connection, jobs)
            return
        except Exception as error:
            may_use_it = len(jobs) == 1 and jobs[0].uses_reserve
            if not (may_use_it and is_full(error, connection.system_errno)):
                raise
        self._room.give_up_reserve()
        self._run_together(connection, jobs)

    def _fail_alone(self, connection: apsw.Connection, job: Job[Any], error: Exception) -> None:
        if isinstance(error, (apsw.Error, OSError, MemoryError)):
            error = store_error(error, self._path, connection.system_errno)
        job.fail(error)

    def _open(self) -> apsw.Connection:
        if self._connection is None:
            connection = self._connections.get()
            connection.set_wal_hook(self._committed)
            self._connection = connection
        return self._connection

    def _committed(self, connection: apsw.Connection, name: str, pages: int) -> int:
        self._log_pages = pages
        self._noted = False
        return apsw.SQLITE_OK

    def _run_together(self, connection: apsw.Connection, jobs: Sequence[Job[Any]]) -> None:
        if not jobs:
            return
        if not all(job.uses_reserve for job in jobs):
            self._room.keep_reserve()
        try:
            with self._transaction(connection):
                run_together(connection, jobs)
                if any(job.is_cancelled for job in jobs):
                    raise CancelledError
        except (apsw.Error, OSError, MemoryError, StoreError):
            raise
        except Exception:
            # One of them is to be taken back, which is rare: only now each gets a savepoint.
            with self._transaction(connection):
                for job in jobs:
                    self._run_one(connection, job)

    @contextmanager
    def _transaction(self, connection: apsw.Connection) -> Iterator[None]:
        """
        Write inside. What is committed is noted, and is in the files that others find.

        :raise StoreError: they have been moved, removed or damaged.
        """
        with transaction(connection):
            yield
            self._connections.check_log()
            self._room.take_for(connection, self._connections.check_place())
        if not self._noted:
            self._connections.note_commit(self._log_pages)
            self._noted = True
        self._connections.check_place()

    def _run_one(self, connection: apsw.Connection, job: Job[Any]) -> None:
        """Do a job inside a savepoint; what is wrong with the database itself is raised."""
        connection.execute("SAVEPOINT job")
        try:
            job.succeed(job.call(connection))
        except (apsw.Error, OSError, MemoryError):
            raise
        except Exception as error:
            job.fail(error)
            connection.execute("ROLLBACK TO job")
        else:
            if job.is_cancelled:
                job.fail(CancelledError())
                connection.execute("ROLLBACK TO job")
        connection.execute("RELEASE job")

    def checkpoint(self, idle: bool) -> None:
        """
        Bring the write-ahead log into the database, if it has grown.

        Nobody waits for it: results have been delivered before, and until the log has grown a lot
        it is left for a time when nothing is written.

        :param idle: whether nothing is.
        """
        if self._connection is None:
            return
        if idle:
            with suppress(apsw.FullError):
                self._room.keep_reserve()
        if self._log_pages < (_LARGE if idle else _CROWDED):
            return
        is_overfull = self._log_pages >= _OVERFULL
        # Not such that it becomes shorter: it has to hold what was acknowledged.
        mode = apsw.SQLITE_CHECKPOINT_RESTART if is_overfull else apsw.SQLITE_CHECKPOINT_PASSIVE
        with suppress(apsw.Error):  # It is tried again after the next batch.
            self._connection.wal_checkpoint(mode=mode)


def _fail(jobs: Sequence[Job[Any]], error: BaseException) -> None:
    for job in jobs:
        job.fail(error)
