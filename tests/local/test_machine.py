"""Whatever is done, in whatever order: the store on the disk and the one in memory agree."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from blobman.errors import BlobError
from blobman.local import BlobStore
from blobman.model import Priority, SyncStatus
from blobman.testing import MemoryStore

from .contract import MIB, content
from .pump import Pump

IDS = st.sampled_from(["a", "b", "c", "d"])
NAMESPACES = st.sampled_from(["", "n"])
STATUSES = st.sampled_from(list(SyncStatus))
PRIORITIES = st.sampled_from(list(Priority))
SIZES = st.sampled_from([0, 7, 10_000, MIB, MIB + 1, 3 * MIB])
SETS = st.frozensets(IDS, max_size=4)


class StoreMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp()
        self.pump: Any = Pump()
        self.model = MemoryStore()
        self.store = self.open()

    def open(self) -> BlobStore:
        return BlobStore(self.folder, "user", b"key", reactor=self.pump)

    def teardown(self) -> None:
        self.pump.wait(self.store.close())
        shutil.rmtree(self.folder)

    def both(self, work: Callable[[Any], Deferred[Any]]) -> None:
        """Do it to both; they give the same result, or the same kind of error."""
        assert self.outcome(work(self.store)) == self.outcome(work(self.model))

    def outcome(self, work: Deferred[Any]) -> object:
        try:
            return self.pump.wait(work)
        except BlobError as error:
            return type(error)

    @rule(
        blob_id=IDS,
        namespace=NAMESPACES,
        size=SIZES,
        local=st.booleans(),
        priority=PRIORITIES,
        off=st.sampled_from([0, 0, 0, 1, -1]),
    )
    def put(
        self, blob_id: str, namespace: str, size: int, local: bool, priority: Priority, off: int
    ) -> None:
        status = SyncStatus.LOCAL_ONLY if local else SyncStatus.PENDING_UPLOAD
        data, said = content(size, blob_id), max(0, size + off)
        self.both(
            lambda s: s.put(blob_id, io.BytesIO(data), said, namespace, status, priority, b"p")
        )

    @rule(blob_id=IDS, namespace=NAMESPACES, size=SIZES, external=st.booleans())
    def publish(self, blob_id: str, namespace: str, size: int, external: bool) -> None:
        def work(store: Any) -> Deferred[None]:
            staged = store.stage(blob_id, namespace)
            staged.write(content(size, "download"))
            published: Deferred[None] = staged.publish(b"preamble", external)
            return published

        self.both(work)

    @rule(blob_id=IDS, namespace=NAMESPACES, size=SIZES)
    def discard(self, blob_id: str, namespace: str, size: int) -> None:
        def work(store: Any) -> Deferred[None]:
            staged = store.stage(blob_id, namespace)
            staged.write(content(size))
            gone: Deferred[None] = staged.discard()
            return gone

        self.both(work)

    @rule(blob_id=IDS, namespace=NAMESPACES)
    def delete(self, blob_id: str, namespace: str) -> None:
        self.both(lambda store: store.delete(blob_id, namespace))

    @rule(blob_id=IDS, namespace=NAMESPACES)
    def forget(self, blob_id: str, namespace: str) -> None:
        self.both(lambda store: store.forget(blob_id, namespace))

    @rule(blob_id=IDS, namespace=NAMESPACES, status=STATUSES, priority=st.none() | PRIORITIES)
    def change(
        self, blob_id: str, namespace: str, status: SyncStatus, priority: Priority | None
    ) -> None:
        self.both(lambda store: store.update_sync_status(blob_id, status, namespace, priority))

    @rule(blob_id=IDS, namespace=NAMESPACES)
    def retry(self, blob_id: str, namespace: str) -> None:
        self.both(lambda store: store.increment_retries(blob_id, namespace))

    @rule(blob_id=IDS, namespace=NAMESPACES, priority=PRIORITIES)
    def prioritize(self, blob_id: str, namespace: str, priority: Priority) -> None:
        self.both(lambda store: store.update_priority(blob_id, priority, namespace))

    @rule(listed=SETS, namespace=NAMESPACES)
    def compare(self, listed: frozenset[str], namespace: str) -> None:
        self.both(lambda store: store.apply_remote_list(listed, namespace).addCallback(sorted))

    @rule(deleted=SETS, listed=SETS, namespace=NAMESPACES)
    def bury(self, deleted: frozenset[str], listed: frozenset[str], namespace: str) -> None:
        self.both(lambda store: store.apply_tombstones(deleted, listed, namespace))

    @rule(blob_id=IDS, namespace=NAMESPACES)
    def read(self, blob_id: str, namespace: str) -> None:
        self.both(
            lambda store: store.get(blob_id, namespace).addCallback(
                lambda file: file and (file.read(), file.external)
            )
        )
        self.both(
            lambda store: store.open_payload(blob_id, namespace).addCallback(
                lambda payload: payload and (payload.size, payload.preamble)
            )
        )

    @rule()
    def reopen(self) -> None:
        self.pump.wait(self.store.close())
        self.store = self.open()

    @rule(blob_id=IDS, size=SIZES)
    def cancel_put(self, blob_id: str, size: int) -> None:
        """A put that is cancelled at once leaves nothing."""
        put = self.store.put(blob_id, io.BytesIO(bytes(size)), size)
        put.addErrback(lambda _: None)
        put.cancel()

    @invariant()
    def agree(self) -> None:
        self.both(lambda store: store.list_namespaces())
        for namespace in ("", "n"):
            self.both(lambda store: store.list(namespace))  # noqa: B023
            self.both(lambda store: store.get_sync_progress(namespace))  # noqa: B023
            for status in SyncStatus:
                self.both(lambda store: store.get_size_list(status, namespace))  # noqa: B023
                self.both(lambda store: store.list_status(status, namespace))  # noqa: B023
            for blob_id in "abcd":
                self.both(lambda store: store.get_sync_status(blob_id, namespace))  # noqa: B023
                self.both(lambda store: store.get_priority(blob_id, namespace))  # noqa: B023


class MachineTests(SynchronousTestCase):
    def test_machine(self) -> None:
        run_state_machine_as_test(
            StoreMachine,
            settings=settings(
                max_examples=25,
                stateful_step_count=30,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                derandomize=True,
                database=None,
            ),
        )
