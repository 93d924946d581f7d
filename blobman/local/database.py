"""
The database file: where it is, who opens it, and which threads work with it.

One thread writes, some read, and some handle files (the application's, and those of large
payloads), so that no kind of work waits for another kind.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, TypeVar

import apsw
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorCore, IReactorFromThreads

from ..errors import StoreError
from ..threads import Outbox, Workers
from . import payload_rows
from .connections import Connections
from .faults import store_error
from .payloads import PayloadFiles
from .workers import Job, Kind, Relay, TwoSteps, run_together
from .writer import Writer

__all__ = ["Database"]

T = TypeVar("T")
G = TypeVar("G")

_READERS = 2
_READ_TOGETHER = 16
"""How many reads of a kind are done together at most: each can bring a chunk into memory."""

_FILERS = 3
_BATCH = 500


class Database:
    """
    A store's database, opened when the first work for it comes.

    :param path: its file.
    :param key: the application's key.
    :param reactor: where results are delivered.
    :param patience: how many seconds to wait for another process that is writing.
    :param external_namespaces: see :func:`.inherit`.
    :ivar payloads: the files of the large payloads.
    """

    def __init__(
        self,
        path: Path,
        key: bytes,
        reactor: IReactorFromThreads,
        patience: float,
        external_namespaces: Collection[str] = (),
    ) -> None:
        self.path = path
        self.payloads = PayloadFiles(path.with_suffix(".payloads"))
        self._connections = Connections(
            path, key, patience, self.is_closed, self.payloads, external_namespaces
        )
        self._reactor = reactor
        self._trigger: Any = None
        self._closing: Deferred[None] | None = None
        outbox = self._outbox = Outbox(reactor)
        writer = Writer(self._connections)
        self._writer: Workers[Job[Any]] = Workers(
            "writer", 1, writer.run, outbox, _BATCH, mixed=True, rest=writer.checkpoint
        )
        self._readers: Workers[Job[Any]] = Workers(
            "reader", _READERS, self._run_reads, outbox, _READ_TOGETHER
        )
        relay = Relay(self._writer, outbox)
        self._filers: Workers[Job[Any]] = Workers("files", _FILERS, self._run_files, relay)
        # When they end, each can still give work to those behind it.
        self._all_workers = (self._filers, self._writer, self._readers)

    def __repr__(self) -> str:
        return f"<Database {self.path}>"

    # The three kinds of work

    def read(self, work: Callable[[apsw.Connection], T]) -> Deferred[T]:
        """
        Read in a thread.

        :param work: called with a connection.
        :return: fires with what it returns; fails with what it raises, with ``StoreError`` or
            ``ClosedError``.
        """
        return self._begin_job(self._readers, Job(work, None))

    def write(
        self,
        work: Callable[[apsw.Connection], T],
        undo: Callable[[T | None], object] | None = None,
        *,
        uses_reserve: bool = False,
    ) -> Deferred[T]:
        """
        Write in a thread, in a transaction.

        :param work: called with a connection, inside a transaction; what it does is taken back
            if it raises. It may be called more than once, each time after everything was
            taken back.
        :param undo: called when work that was cancelled has ended: with what it returned if it
            was committed all the same, else with None.
        :param uses_reserve: whether it is to be done on a full disk, too; it is small.
        :return: fires with what it returns when it is durable; fails with what it raises, with
            ``StoreError`` or ``ClosedError``. Cancelling takes it back unless it is being
            committed.
        """
        return self._begin_job(self._writer, Job(work, undo, uses_reserve))

    def read_together(self, kind: Kind[T], item: object) -> Deferred[T]:
        """
        Read in a thread, together with what is of the same kind.

        :param kind: called with a connection, and with the items of some.
        :return: as :meth:`read` does.
        """
        return self._begin_job(self._readers, Job.of_kind(kind, item, None))

    def write_together(
        self, kind: Kind[T], item: object, undo: Callable[[T | None], object] | None = None
    ) -> Deferred[T]:
        """
        Write in a thread, in a transaction, together with what is of the same kind.

        :param kind: called as the work of :meth:`write` is, and with the items of some. If it
            raises, it is called again for each of them.
        :param undo: as for :meth:`write`.
        :return: as :meth:`write` does.
        """
        return self._begin_job(self._writer, Job.of_kind(kind, item, undo))

    def handle_files(
        self, work: Callable[[], T], undo: Callable[[T | None], object] | None = None
    ) -> Deferred[T]:
        """
        Read or write files in a thread.

        :return: as :meth:`read` does.
        """
        return self._begin_job(self._filers, Job(lambda _: work(), undo))

    def read_and_write(
        self,
        read: Callable[[apsw.Connection], G],
        kind: Kind[T],
        undo: Callable[[T | None], object] | None = None,
    ) -> Deferred[T]:
        """
        Read a file in a thread, then record what it held, without coming back in between.

        :param read: called in a thread for files, with a connection to look something up; gives
            the item.
        :param kind: as for :meth:`write_together`.
        :param undo: as for :meth:`write`.
        :return: as :meth:`write` does.
        """
        steps = TwoSteps(lambda _: read(self._connections.get()), kind, undo)
        return self._begin_job(self._filers, steps)

    def _begin_job(self, workers: Workers[Job[Any]], job: Job[T]) -> Deferred[T]:
        try:
            self._be_in_use()
        except RuntimeError as error:
            job.deferred.errback(StoreError(f"{self.path} can't be used: {error}"))
            return job.deferred
        return workers.begin(job)

    def remove_files(self, names: Sequence[str]) -> Deferred[None]:
        """
        Remove files that are recorded as going.

        :return: fires when they are gone. What fails is done at the next start.
        """
        return self.handle_files(lambda: self.payloads.remove(names)).addCallback(self._forget)

    def remove_going(self) -> Deferred[None]:
        """
        Remove all files that are recorded as going.

        :return: as :meth:`remove_files`.
        """
        return self.read(payload_rows.list_going).addCallback(self.remove_files)

    def _forget(self, gone: Sequence[str]) -> None:
        # Nobody waits for it: if it fails, the next start looks for these files once more.
        noting = self.write(
            lambda connection: payload_rows.forget_gone(connection, gone), uses_reserve=True
        )
        noting.addErrback(lambda _: None)

    def _run_reads(self, batch: Sequence[Job[Any]]) -> None:
        if len(batch) > 1:
            try:
                run_together(self._connections.get(), batch)
            except Exception:
                pass  # Each of them tells by itself.
            else:
                return
        for job in batch:
            self._run(job, self._connections.get)

    def _run_files(self, batch: Sequence[Job[Any]]) -> None:
        for job in batch:
            self._run(job, self._connections.be_open)

    def _run(self, job: Job[Any], argument: Callable[[], object]) -> None:
        try:
            job.succeed(job.call(argument()))
        except (apsw.Error, MemoryError) as error:
            job.fail(store_error(error, str(self.path)))
        except Exception as error:
            job.fail(error)

    # Closing

    def is_closed(self) -> bool:
        """Whether :meth:`close` has been called."""
        return self._closing is not None

    def _be_in_use(self) -> None:
        """Start the threads, and see to it that they end, if that has not been done."""
        if self._trigger is None and self._closing is None:
            for workers in self._all_workers:
                workers.start()
            core = IReactorCore(self._reactor)
            self._trigger = core.addSystemEventTrigger("before", "shutdown", self._shut_down)

    def _shut_down(self) -> Deferred[None]:
        self._trigger = None
        return self.close()

    def close(self) -> Deferred[None]:
        """
        End the threads and close the file. May be called twice.

        :return: fires when no thread is left.
        """
        done: Deferred[None] = Deferred()
        if self._closing is None:
            self._closing = Deferred()
            self._begin_closing()
        self._closing.addCallback(self._pass_on, done)
        return done

    @staticmethod
    def _pass_on(_: None, done: Deferred[None]) -> None:
        if not done.called:
            done.callback(None)

    def _begin_closing(self) -> None:
        if self._trigger is not None:
            IReactorCore(self._reactor).removeSystemEventTrigger(self._trigger)
        for workers in self._all_workers:
            workers.close()
        closer = threading.Thread(target=self._close_files, name="blobman-close", daemon=True)
        closer.start()
        self._closer = closer

    def _close_files(self) -> None:
        for workers in self._all_workers:
            workers.join()
        self.payloads.close()
        self._connections.close()
        self._reactor.callFromThread(self._finish_closing)

    def _finish_closing(self) -> None:
        self._closer.join()
        self._outbox.fire()
        assert self._closing is not None
        self._closing.callback(None)
