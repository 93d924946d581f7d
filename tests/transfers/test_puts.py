"""Puts that are written in their turn, and then sent."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from blobman import BlobDoc, Priority, StoreError, SyncStatus
from blobman.interfaces import IBlobStore
from blobman.model import BlobKey
from blobman.transfers.permits import Permits
from blobman.transfers.puts import Puts

from .test_bundles import end_quietly


class _SlowStore:
    """Takes a blob when it is told to."""

    def __init__(self) -> None:
        self.taking: dict[str, Deferred[None]] = {}
        self.taken: list[tuple[str, SyncStatus, bool]] = []
        self.cleaning: Deferred[None] | None = None

    def put(
        self,
        blob_id: str,
        blob_fd: object,
        size: int,
        namespace: str,
        status: SyncStatus,
        priority: Priority,
        preamble: bytes,
    ) -> Deferred[None]:
        if blob_id == "broken":
            raise StoreError("broken")
        self.taken.append((blob_id, status, bool(preamble)))
        self.taking[blob_id] = Deferred()
        return self.taking[blob_id].addErrback(self._clean)

    def _clean(self, failure: Any) -> Any:
        return failure if self.cleaning is None else self.cleaning.addCallback(lambda _: failure)


class PutsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.permits = Permits(lambda: 2, Clock())
        self.puts = Puts(self.permits, lambda key, size: b"preamble", self.send)
        self.store = _SlowStore()
        self.sending: dict[str, Deferred[None]] = {}
        self.told: Callable[[], None] = lambda: None

    def tearDown(self) -> None:
        self.assertEqual(self.permits.active, 0)

    def send(self, key: BlobKey, priority: int) -> Deferred[None]:
        self.sending[key.blob_id] = Deferred(lambda _: self.told())
        return self.sending[key.blob_id]

    def put(
        self, name: str, priority: Priority = Priority.MEDIUM, local_only: bool = False
    ) -> Deferred[None]:
        store = cast(IBlobStore, self.store)
        doc = BlobDoc(io.BytesIO(b"data"), name)
        putting = self.puts.put(store, doc, BlobKey("", name), 4, priority, local_only)
        self.addCleanup(end_quietly, putting)
        return putting

    def write(self, *names: str) -> None:
        for name in names:
            self.store.taking[name].callback(None)

    def test_some_at_a_time_the_most_urgent_first(self) -> None:
        for name in "abc":
            self.put(name)
        self.put("urgent", Priority.URGENT)
        self.assertEqual([name for name, *_ in self.store.taken], ["a", "b"])
        self.write("a", "b")
        self.assertEqual([name for name, *_ in self.store.taken], ["a", "b", "urgent", "c"])
        self.write("urgent", "c")
        self.assertEqual(list(self.sending), ["a", "b", "urgent", "c"])

    def test_it_ends_when_it_is_sent(self) -> None:
        sent, failing = self.put("a"), self.put("b")
        self.write("a", "b")
        self.assertNoResult(sent)
        # Who is sent holds no permit to write.
        self.assertEqual(self.permits.active, 0)
        self.sending["a"].callback(None)
        self.assertIsNone(self.successResultOf(sent))
        self.sending["b"].errback(StoreError("no"))
        self.failureResultOf(failing, StoreError)
        pending = SyncStatus.PENDING_UPLOAD
        self.assertEqual(self.store.taken, [("a", pending, True), ("b", pending, True)])

    def test_what_is_local_only_is_not_sent(self) -> None:
        putting = self.put("a", local_only=True)
        self.write("a")
        self.assertIsNone(self.successResultOf(putting))
        self.assertEqual(self.store.taken, [("a", SyncStatus.LOCAL_ONLY, False)])
        self.assertEqual(self.sending, {})

    def test_what_can_not_be_stored(self) -> None:
        self.failureResultOf(self.put("broken"), StoreError)
        failing = self.put("a")
        self.store.taking["a"].errback(StoreError("full"))
        self.failureResultOf(failing, StoreError)
        self.assertEqual(self.sending, {})

    def test_cancelled_before_it_is_written(self) -> None:
        for name in "ab":
            self.put(name)
        waiting = self.put("c")
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.write("a", "b")
        self.assertEqual(list(self.sending), ["a", "b"])

    def test_cancelled_while_it_is_written(self) -> None:
        self.store.cleaning = Deferred()
        putting = self.put("a")
        putting.cancel()
        # It is over when nothing of it is left.
        self.assertNoResult(putting)
        putting.cancel()
        self.store.cleaning.callback(None)
        self.failureResultOf(putting, CancelledError)
        self.assertEqual(self.sending, {})

    def test_cancelled_while_it_is_sent(self) -> None:
        putting = self.put("a")
        self.write("a")
        putting.cancel()
        self.failureResultOf(putting, CancelledError)
        self.assertTrue(self.sending["a"].called)

    def test_who_is_told_of_a_cancellation_cancels_it_again(self) -> None:
        putting = self.put("a")
        self.write("a")
        self.told = putting.cancel
        putting.cancel()
        self.failureResultOf(putting, CancelledError)

    def test_a_sender_that_fails_at_once(self) -> None:
        def broken(key: BlobKey, priority: int) -> Deferred[None]:
            raise StoreError("closed")

        self.puts = Puts(self.permits, lambda key, size: b"preamble", broken)
        putting = self.put("a")
        self.write("a")
        self.failureResultOf(putting, StoreError)
