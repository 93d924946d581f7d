"""Whatever happens on the server and here: following its changes ends where comparing all does."""

from __future__ import annotations

import io
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from typing import Any, cast

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from blobman.errors import BlobError, CursorExpiredError, InvalidBlob
from blobman.local import BlobStore
from blobman.model import FIRST_CURSOR, Flags, SyncStatus
from blobman.reconciliation import AppliedChanges
from blobman.testing import MemoryStore

from .feed_contract import tag
from .model_server import ModelServer
from .pump import Pump

S = SyncStatus
EXAMPLES = 25
HISTORIES = 6
IDS = st.sampled_from("ab")
FLAGS = st.sampled_from([(), (Flags.PENDING,), (Flags.PROCESSED, Flags.FAILED)])


class FeedMachine(RuleBasedStateMachine):
    """A client, with a store on the disk and one in memory that agree, and a server."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp()
        self.pump: Any = Pump()
        self.model = MemoryStore()
        self.store = self.open()
        self.server = ModelServer()
        self.backups = [self.server.back_up()]
        self.starts = self.names = 0
        # What came after a deletion, and the server may have forgotten: nothing tells that apart
        # from what was deleted again, if the server was restored in between.
        self.forgotten: set[str | None] = set()

    def open(self) -> BlobStore:
        return BlobStore(self.folder, "user", b"key", reactor=self.pump)

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None:
                self.settle()
        finally:
            self.pump.wait(self.store.close())
            shutil.rmtree(self.folder)

    def both(self, work: Callable[[Any], Deferred[Any]]) -> Any:
        """Do it to both stores; they give the same, or the same kind of error."""
        real, model = self.outcome(work(self.store)), self.outcome(work(self.model))
        assert real == model, (real, model)
        return real

    def outcome(self, work: Deferred[Any]) -> Any:
        try:
            return self.pump.wait(work)
        except BlobError as error:
            return type(error)

    def ids(self, status: SyncStatus) -> list[str]:
        """The blobs that have a status, in the store in memory: :meth:`agree` sees to the other."""
        ids: list[str] = self.pump.wait(self.model.list_status(status))
        return ids

    def statuses(self) -> dict[str, SyncStatus]:
        return {blob_id: status for status in S for blob_id in self.ids(status)}

    def name(self, blob_id: str) -> str | None:
        """What the copy here is."""
        payload = self.pump.wait(self.model.open_payload(blob_id))
        return None if payload is None else str(payload.read_now(), "ascii")

    # Others

    def new_name(self, blob_id: str) -> str:
        self.names += 1
        return f"{blob_id}{self.names}"

    @rule(blob_id=IDS)
    def another_puts(self, blob_id: str) -> None:
        self.server.put(blob_id, self.new_name(blob_id))

    @rule(blob_id=IDS)
    def another_deletes(self, blob_id: str) -> None:
        self.server.delete(blob_id)

    @rule(blob_id=IDS)
    def another_uses_an_id_again(self, blob_id: str) -> None:
        self.server.delete(blob_id)
        self.server.put(blob_id, self.new_name(blob_id))

    @rule(blob_id=IDS, flags=FLAGS)
    def another_sets_flags(self, blob_id: str, flags: tuple[Flags, ...]) -> None:
        self.server.set_flags(blob_id, flags)

    @rule()
    def back_up(self) -> None:
        self.backups.append(self.server.back_up())

    @rule(age=st.integers(0, 2))
    def restore(self, age: int) -> None:
        self.starts += 1
        self.note_forgotten()
        self.server = self.backups[-1 - age % len(self.backups)].restored(self.starts)

    def note_forgotten(self) -> None:
        self.forgotten |= {self.name(blob_id) for blob_id in self.ids(S.SYNCED)}

    # This client

    @rule(blob_id=IDS, local=st.booleans())
    def put(self, blob_id: str, local: bool) -> None:
        name = self.new_name(blob_id).encode()
        status = S.LOCAL_ONLY if local else S.PENDING_UPLOAD
        self.both(lambda store: store.put(blob_id, io.BytesIO(name), len(name), "", status))

    @rule(blob_id=IDS)
    def delete(self, blob_id: str) -> None:
        if blob_id in self.ids(S.LOCAL_ONLY):
            self.both(lambda store: store.delete(blob_id))
        elif blob_id in self.statuses():
            self.both(lambda store: store.update_sync_status(blob_id, S.PENDING_DELETE))

    @rule(limit=st.integers(1, 3))
    def read_a_page(self, limit: int) -> None:
        self.read_on(limit)

    def read_on(self, limit: int) -> bool:
        """Read on, and give whether there is more."""
        untold = self.both(lambda store: store.list_untold().addCallback(sorted))
        feed = self.both(lambda store: store.get_feed())
        if feed.cursor == FIRST_CURSOR:
            self.compare_everything()
        try:
            page = self.server.changes(feed.cursor, limit)
        except CursorExpiredError:
            self.note_forgotten()
            self.both(lambda store: store.begin_comparison(is_refused=True))
            return True
        applied = self.both(
            lambda store: store.apply_changes(page, feed.cursor).addCallback(in_order)
        )
        assert applied.is_current
        if page.more:
            return True
        if not feed.is_comparing:
            self.both(lambda store: store.send_again(untold))
            return False
        return not self.end_comparison(page.cursor)

    def end_comparison(self, cursor: str) -> bool:
        tombstones = set()
        if self.both(lambda store: store.has_unseen()):
            tombstones = self.server.tombstones
        ended = self.both(lambda store: store.end_comparison(cursor, tombstones, 1.0))
        return bool(ended.is_current)

    @rule(limit=st.integers(1, 3))
    def read_to_the_end(self, limit: int = 3) -> None:
        while self.read_on(limit):
            pass

    @rule()
    def compare_everything(self) -> None:
        self.both(lambda store: store.begin_comparison(is_refused=False))

    @rule()
    def compare_lists(self) -> None:
        """As with an old server."""
        listed, tombstones = set(self.server.blobs), self.server.tombstones
        self.both(lambda store: store.apply_tombstones(tombstones, listed))
        self.both(lambda store: store.apply_remote_list(listed, "", tombstones).addCallback(sorted))
        if self.both(lambda store: store.get_feed()).cursor != FIRST_CURSOR:
            self.note_forgotten()
            self.both(lambda store: store.begin_comparison())
        self.replace_each(listed & tombstones & set(self.ids(S.SYNCED)))

    @rule()
    def download(self) -> None:
        for blob_id in self.ids(S.PENDING_DOWNLOAD):
            if blob_id in self.server.blobs:
                self.receive(blob_id)
            else:
                self.both(lambda store: store.forget(blob_id))  # noqa: B023

    def receive(self, blob_id: str, replace: bool = False) -> None:
        name = self.server.blobs[blob_id]

        def work(store: Any) -> Deferred[None]:
            staged = store.stage(blob_id, replace=replace)
            staged.write(name.encode())
            published: Deferred[None] = staged.publish(b"preamble", False, tag(name), 757)
            return published

        outcome = self.both(work)
        # The server may be ahead of what it has told.
        assert outcome is None or issubclass(outcome, InvalidBlob)

    @rule()
    def replace(self) -> None:
        outdated = self.both(lambda store: store.next_outdated("", 9))
        self.replace_each(item.blob_id for item in outdated)

    def replace_each(self, ids: Iterable[str]) -> None:
        for blob_id in ids:
            if blob_id not in self.server.blobs:
                continue
            name = self.name(blob_id)
            assert name is not None
            self.both(lambda store: store.note_older_tombstone(blob_id))  # noqa: B023
            if self.server.has(blob_id, tag(name)):
                self.both(lambda store: store.record_tag(blob_id, tag(name)))  # noqa: B023
            else:
                self.receive(blob_id, replace=True)

    @rule()
    def upload(self) -> None:
        for blob_id in self.ids(S.PENDING_UPLOAD):
            name = self.name(blob_id)
            assert name is not None
            if self.server.put(blob_id, name) or self.server.has(blob_id, tag(name)):
                self.both(lambda store: store.mark_uploaded({blob_id: tag(name)}, ""))  # noqa: B023
            else:
                self.both(lambda store: store.update_sync_status(blob_id, S.FAILED_UPLOAD))  # noqa: B023

    @rule()
    def send_deletions(self) -> None:
        for blob_id in self.ids(S.PENDING_DELETE):
            name, there = self.name(blob_id), self.server.blobs.get(blob_id)
            if name is None or there in (name, None):
                self.server.delete(blob_id)
                here = self.both(lambda store: store.delete(blob_id))  # noqa: B023
                if there is not None and not here:
                    self.both(lambda store: store.note_older_tombstone(blob_id))  # noqa: B023
            else:
                self.both(lambda store: store.fetch_instead(blob_id))  # noqa: B023

    @rule()
    def crash(self) -> None:
        self.pump.wait(self.store.close())
        self.store = self.open()

    # Where it ends

    @invariant()
    def agree(self) -> None:
        self.both(lambda store: store.get_feed())
        self.both(lambda store: store.next_outdated("", 9))
        for status in S:
            self.both(lambda store: store.list_status(status))  # noqa: B023

    def synchronize(self) -> None:
        self.read_to_the_end()
        self.both(lambda store: store.retry_refused())
        for step in (self.send_deletions, self.download, self.replace, self.upload):
            step()

    @rule()
    def settle(self) -> None:
        """Synchronize until nothing moves: then a full comparison finds nothing to do."""
        before = None
        while before != (before := self.statuses()):
            self.synchronize()
        self.compare_everything()
        self.read_to_the_end()
        assert self.both(lambda store: store.next_outdated("", 9)) == []
        after = self.statuses()
        assert after == before, (before, after)
        for blob_id, status in after.items():
            assert status in (S.SYNCED, S.FAILED_UPLOAD, S.LOCAL_ONLY), status
            name = self.name(blob_id)
            if status is S.SYNCED and name != self.server.blobs.get(blob_id):
                assert name in self.forgotten, name
                assert blob_id in self.server.tombstones - set(self.server.blobs), blob_id
            elif status is S.FAILED_UPLOAD:
                assert blob_id in self.server.blobs
        assert set(self.server.blobs) <= set(after)


def in_order(applied: AppliedChanges) -> AppliedChanges:
    """Which one comes first is not said."""
    return AppliedChanges(applied.is_current, *[sorted(ids) for ids in cast(Any, applied)[1:]])


class FeedMachineTests(SynchronousTestCase):
    def test_following_ends_where_comparing_does(self) -> None:
        run_state_machine_as_test(
            FeedMachine,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=30,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                derandomize=True,
                database=None,
            ),
        )

    def test_long_histories(self) -> None:
        """Each rule comes as often as another, which hypothesis does not see to."""
        for seed in range(HISTORIES):
            machine, chance = FeedMachine(), random.Random(seed)
            with self.subTest(seed=seed):
                walk(machine, chance)


def walk(machine: FeedMachine, chance: random.Random, steps: int = 200) -> None:
    """Do things at random, and synchronize now and then."""

    def an_id() -> str:
        return chance.choice("abc")

    def flags() -> tuple[Flags, ...]:
        return chance.choice([(), (Flags.PENDING,)])

    works: list[Callable[[], None]] = [
        lambda: machine.another_puts(an_id()),
        lambda: machine.another_deletes(an_id()),
        lambda: machine.another_uses_an_id_again(an_id()),
        lambda: machine.another_sets_flags(an_id(), flags()),
        lambda: machine.put(an_id(), chance.random() < 0.2),
        lambda: machine.delete(an_id()),
        lambda: machine.read_a_page(chance.randint(1, 3)),
        machine.download,
        machine.replace,
        machine.upload,
        machine.send_deletions,
    ]
    rare: list[Callable[[], None]] = [
        machine.back_up,
        lambda: machine.restore(chance.randrange(3)),
        machine.compare_everything,
        machine.compare_lists,
        machine.crash,
        machine.settle,
    ]
    try:
        for _ in range(steps):
            chance.choice(rare if chance.random() < 0.1 else works)()
            machine.agree()
    finally:
        machine.teardown()
