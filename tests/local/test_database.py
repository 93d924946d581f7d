"""Threads, transactions, cancelling and the end."""

from __future__ import annotations

import io
import threading
from functools import partial
from pathlib import Path
from typing import Any, cast

import apsw
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from blobman.errors import BlobError, ClosedError, StoreError
from blobman.local import BlobStore
from blobman.local.budget import ByteBudget
from blobman.local.database import _FILERS
from blobman.model import FIRST_CURSOR, ChangesPage, RemoteChange, SyncStatus

from .contract import MIB, content
from .pump import Pump


class PumpedTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.others = set(threading.enumerate())
        self.pump = Pump()
        self.folder = Path(self.mktemp()).absolute()
        self.store = BlobStore(self.folder, "user", b"key", reactor=cast(Any, self.pump))
        self.database = self.store._database
        self.addCleanup(self.close)

    def close(self) -> None:
        self.pump.wait(self.store.close())
        self.assertEqual(self.threads(), [])
        self.assertEqual(self.pump.triggers, [])

    def threads(self) -> list[threading.Thread]:
        """Give the threads that have been started since this test began."""
        return [it for it in threading.enumerate() if it not in self.others]

    def put(self, blob_id: str, size: int) -> Deferred[None]:
        return self.store.put(blob_id, io.BytesIO(content(size)), size)

    def hold_writer(self) -> tuple[Deferred[bool], threading.Event]:
        """Keep the writer busy until the event is set."""
        gate, reached = threading.Event(), threading.Event()

        def work(_: apsw.Connection) -> bool:
            reached.set()
            return gate.wait(60)

        held = self.database.write(work)
        self.assertTrue(reached.wait(60))
        return held, gate

    def payload_files(self) -> list[Path]:
        folder = self.database.payloads.folder
        return list(folder.iterdir()) if folder.exists() else []


class CancelTests(PumpedTestCase):
    def settle(self) -> None:
        """Let all that is under way, and what follows from it, come to an end."""
        for _ in range(3):
            self.pump.wait(self.database.write(lambda _: None))
            barrier = threading.Barrier(_FILERS)  # No thread is busy when all are there.
            for meeting in [self.database.handle_files(barrier.wait) for _ in range(_FILERS)]:
                self.pump.wait(meeting)

    def test_put_at_every_step(self) -> None:
        """Whenever it is cancelled, nothing of it stays."""
        for size in (1000, 20 * MIB):
            for steps in range(30):
                put = self.put("a", size)
                outcome: list[Any] = []
                put.addBoth(outcome.append)
                for _ in range(steps):
                    if not outcome:
                        self.pump.step()
                if outcome:
                    break
                put.cancel()
                while not outcome:
                    self.pump.step()
                outcome[0].trap(CancelledError)
                self.assertIsNone(self.pump.wait(self.store.get_sync_status("a")), (size, steps))
                self.assertEqual(self.payload_files(), [])
            else:
                self.fail("it never came to an end")
            self.assertEqual(outcome, [None])
            self.pump.wait(self.database.write(lambda c: c.execute("DELETE FROM blobs")))

    def test_publish_at_every_step(self) -> None:
        for size in (1000, 5 * MIB):
            for steps in range(30):
                wanted = SyncStatus.PENDING_DOWNLOAD
                self.pump.wait(self.store.update_sync_status(f"s{size}", wanted))
                staged = self.store.stage(f"s{size}")
                staged.write(content(size))
                outcome: list[Any] = []
                staged.publish(b"").addBoth(outcome.append)
                for _ in range(steps):
                    if not outcome:
                        self.pump.step()
                if outcome:
                    break
                self.pump.wait(staged.discard())
                outcome[0].trap(CancelledError)
                status = self.pump.wait(self.store.get_sync_status(f"s{size}"))
                self.assertEqual(status, (SyncStatus.PENDING_DOWNLOAD, 0))
                self.assertEqual(self.payload_files(), [])
            self.assertEqual(outcome, [None])

    def test_committed_before_it_was_cancelled(self) -> None:
        """The commit is done, but nobody has been told: it is taken back."""
        committed = threading.Event()
        outbox = self.database._writer._outbox
        original = outbox.deliver

        def deliver(jobs: Any) -> None:
            original(jobs)
            committed.set()

        self.patch(outbox, "deliver", deliver)
        put = self.put("a", 1000)
        self.assertTrue(committed.wait(60))
        put.cancel()
        self.assertRaises(CancelledError, self.pump.wait, put)
        self.assertIsNone(self.pump.wait(self.store.get_sync_status("a")))

    def test_the_server_has_told_of_its_id_since(self) -> None:
        """What is taken back makes room for that: the server does not tell of it again."""
        both = threading.Barrier(2, timeout=60)
        held, gate = self.hold_writer()
        told = RemoteChange("a", bytes(16), 1000, 1, ())
        put = self.put("a", 1000)
        applied = self.store.apply_changes(ChangesPage([told], "c1", False), FIRST_CURSOR)
        last = self.database.write(lambda _: both.wait())
        gate.set()
        both.wait()
        put.cancel()
        self.assertRaises(CancelledError, self.pump.wait, put)
        for work in (held, applied, last):
            self.pump.wait(cast(Any, work))
        status = self.pump.wait(self.store.get_sync_status("a"))
        assert status is not None
        self.assertEqual(status[0], SyncStatus.PENDING_DOWNLOAD)
        self.assertIsNone(self.pump.wait(self.store.get("a")))

    def test_work_that_waits_is_not_begun(self) -> None:
        begun: list[int] = []
        first, gate = self.hold_writer()
        second = self.database.write(partial(self.note, begun, 2))
        second.addErrback(lambda failure: failure.trap(CancelledError))
        second.cancel()
        gate.set()
        self.pump.wait(first)
        self.pump.wait(self.database.write(partial(self.note, begun, 3)))
        self.assertEqual(begun, [3])

    def note(self, where: list[int], what: int, _: apsw.Connection) -> None:
        where.append(what)

    def test_work_under_way_is_taken_back(self) -> None:
        self.pump.wait(self.store.list())
        gate, reached = threading.Event(), threading.Event()

        def work(connection: apsw.Connection) -> None:
            connection.execute("INSERT INTO payloads VALUES (99, 0, x'', 0, NULL, NULL, x'', NULL)")
            reached.set()
            gate.wait(60)

        job = self.database.write(work)
        job.addErrback(lambda failure: failure.trap(CancelledError))
        reached.wait(60)
        job.cancel()
        gate.set()
        rows = self.pump.wait(
            self.database.write(lambda c: c.execute("SELECT id FROM payloads").fetchall())
        )
        self.assertEqual(rows, [])


class GroupCommitTests(PumpedTestCase):
    def test_what_waits_is_committed_together(self) -> None:
        commits: list[int] = []
        self.pump.wait(self.database.write(lambda _: None))
        writer = self.database._writer
        original = writer._run

        def run(jobs: Any) -> None:
            commits.append(len(jobs))
            original(jobs)

        self.patch(writer, "_run", run)
        first, gate = self.hold_writer()
        jobs = [self.database.write(lambda _: True) for _ in range(100)]
        gate.set()
        for job in [first, *jobs]:
            self.assertTrue(self.pump.wait(job))
        self.assertEqual(commits, [1, 100])

    def test_one_that_breaks_the_transaction_hurts_no_other(self) -> None:
        self.pump.wait(self.store.list())
        first, gate = self.hold_writer()
        good = [self.put_row(n) for n in range(5)]
        bad = self.database.write(lambda c: c.execute("ROLLBACK") and c.execute("nonsense"))
        more = [self.put_row(n) for n in range(5, 10)]
        gate.set()
        self.pump.wait(first)
        for job in good + more:
            self.pump.wait(job)
        self.assertRaises(BlobError, self.pump.wait, bad)
        rows = self.pump.wait(
            self.database.read(lambda c: c.execute("SELECT id FROM payloads").fetchall())
        )
        self.assertEqual(rows, [(n,) for n in range(10)])

    def put_row(self, number: int) -> Deferred[Any]:
        statement = "INSERT INTO payloads VALUES (?, 0, x'', 0, NULL, NULL, x'', NULL)"
        return self.database.write(lambda c: c.execute(statement, (number,)).fetchall())

    def test_the_log_does_not_grow_for_ever(self) -> None:
        for turn in range(30):
            jobs = [self.put(f"b{turn}-{n}", 900_000) for n in range(6)]
            for job in jobs:
                self.pump.wait(job)
        log = Path(f"{self.database.path}-wal")
        self.assertLess(log.stat().st_size, 80_000_000)


class CloseTests(PumpedTestCase):
    def test_threads_are_few(self) -> None:
        jobs = [self.put(f"b{n}", n * 1000) for n in range(100)]
        for job in jobs:
            self.pump.wait(job)
        self.assertLessEqual(len(self.threads()), 6)

    def test_close_fails_what_waits(self) -> None:
        first, gate = self.hold_writer()
        waiting = [self.database.write(lambda _: True) for _ in range(5)]
        closing = self.store.close()
        gate.set()
        self.pump.wait(closing)
        self.assertTrue(self.successResultOf(first))
        for job in waiting:
            self.failureResultOf(job).trap(ClosedError)

    def test_close_removes_what_is_half_written(self) -> None:
        self.pump.wait(self.put("a", 2 * MIB))
        staged = self.store.stage("b")
        room = staged.write(content(9 * MIB))
        assert room is not None
        self.pump.wait(room)
        self.assertEqual(len(self.payload_files()), 2)
        self.close()
        self.assertEqual(len(self.payload_files()), 1)

    def test_the_reactor_ends(self) -> None:
        """An application that forgets to close."""
        self.pump.wait(self.put("a", 10))
        (trigger,) = self.pump.triggers
        self.pump.triggers.clear()
        self.pump.wait(trigger())
        self.assertEqual(self.threads(), [])
        self.assertRaises(ClosedError, self.pump.wait, self.store.list())

    def test_the_log_goes_with_the_last_one(self) -> None:
        self.pump.wait(self.put("a", 10))
        self.close()
        self.assertFalse(Path(f"{self.database.path}-wal").exists())


class BudgetTests(SynchronousTestCase):
    def test_first_come_first_served(self) -> None:
        budget = ByteBudget(10)
        self.successResultOf(budget.acquire(6))
        second, third = budget.acquire(6), budget.acquire(1)
        self.assertNoResult(second)
        self.assertNoResult(third)
        budget.release(6)
        self.successResultOf(second)
        self.successResultOf(third)

    def test_more_than_there_is(self) -> None:
        budget = ByteBudget(10)
        self.successResultOf(budget.acquire(99))
        small = budget.acquire(0)
        self.assertNoResult(small)
        budget.release(99)
        self.successResultOf(small)

    def test_cancelled(self) -> None:
        budget = ByteBudget(10)
        self.successResultOf(budget.acquire(6))
        large, small = budget.acquire(9), budget.acquire(2)
        large.cancel()
        self.failureResultOf(large).trap(CancelledError)
        self.successResultOf(small)
        budget.release(6)
        budget.release(2)
        self.successResultOf(budget.acquire(10))


class ThreadTests(PumpedTestCase):
    def test_a_thread_that_cant_be_started(self) -> None:
        """What takes it fails; the next tries again."""
        start, started = threading.Thread.start, [0]

        def starting(thread: threading.Thread) -> None:
            started[0] += 1
            if started[0] == 3:
                raise RuntimeError("can't start new thread")
            start(thread)

        self.patch(threading.Thread, "start", starting)
        error = self.assertRaises(StoreError, self.pump.wait, self.store.list())
        self.assertIn("can't start new thread", str(error))
        self.assertEqual(self.pump.wait(self.store.list()), [])
        self.pump.wait(self.put("a", 1000))
        self.assertLessEqual(len(self.threads()), 6)
