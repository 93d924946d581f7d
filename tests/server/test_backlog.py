"""Small blobs whose files are made later: as if they were there, through every crash."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Collection
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from blobman.errors import BlobAlreadyExistsError, BlobNotFoundError, QuotaExceededError
from blobman.model import Flags
from blobman.server import backlog, disk, filesystem, small_blobs
from blobman.server.accounts.quotas import QuotaFile
from blobman.server.backlog import PORTION, Backlog, Follower, Waiting
from blobman.server.filesystem import FilesystemBackend
from blobman.server.folder import BlobFolder
from blobman.server.layout import folder_of
from blobman.server.small_blobs import SmallBlobs
from blobman.server.storage import BlobName

from .blobs import sealed
from .contract import BackendContract, name, query

ROOM = 1 << 20


def path_of(root: str, blob: BlobName) -> str:
    return os.path.join(folder_of(root, blob), blob.blob_id)


def make_usable(folder: BlobFolder, *places: tuple[str, str]) -> None:
    """As if there had been blobs before: the first ones of a namespace get their files at once."""
    for user, namespace in places:
        path = folder.places.namespace(name("", user, namespace))
        os.makedirs(path, exist_ok=True)
        folder.small._usable.add(path)


def ignore_the_machine(case: SynchronousTestCase) -> None:
    """Its disk may be small."""
    case.patch(small_blobs, "SPARE", 0)
    case.patch(small_blobs, "SPARE_FILES", 0)


def no_space(*_: object) -> Any:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class WaitingTests(BackendContract, TestCase):
    """The contract, with blobs that wait until somebody needs their files."""

    async def setUp(self) -> None:  # type: ignore[override]
        ignore_the_machine(self)
        self.patch(backlog, "QUIET", 600)
        self.patch(filesystem, "SETTLE_AFTER", 600)
        self.root = self.mktemp()
        self.backend: FilesystemBackend = FilesystemBackend(self.root, backlog=ROOM)
        await self.backend.open()
        self.addCleanup(lambda: self.backend.close())
        make_usable(self.folder, ("alice", "default"), ("alice", "mail"), ("bob", "default"))

    @property
    def folder(self) -> BlobFolder:
        return self.backend._folder

    async def upload(self, blob: BlobName, content: bytes, flags: tuple[Flags, ...] = ()) -> None:
        (outcome,) = await self.backend.store([(blob, content)])
        if outcome is not None:
            raise outcome
        if flags:
            await self.backend.set_flags(blob, flags)

    def is_there(self, blob: BlobName) -> bool:
        return os.path.exists(path_of(self.root, blob))

    async def test_nothing_is_made_at_first(self) -> None:
        await self.upload(name("a"), sealed("a"))
        self.assertEqual(await self.content(name("a")), sealed("a"))
        self.assertEqual(await self.backend.list("alice", query()), ["a"])
        self.assertEqual(await self.backend.count("alice", query(order_by="date")), 1)
        self.assertFalse(self.is_there(name("a")))

    async def test_a_second_one_of_the_name(self) -> None:
        await self.upload(name("a"), sealed("a"))
        (outcome,) = await self.backend.store([(name("a"), sealed("b"))])
        self.assertIsInstance(outcome, BlobAlreadyExistsError)
        await self.fails(BlobAlreadyExistsError, self.backend.receive(name("a")))
        self.assertEqual(await self.content(name("a")), sealed("a"))

    async def test_one_that_was_on_its_way_before(self) -> None:
        large = await self.backend.receive(name("a"))
        await large.write([sealed("large", 100_000)])
        await self.upload(name("a"), sealed("a"))
        await self.fails(BlobAlreadyExistsError, large.publish())
        self.assertEqual(await self.content(name("a")), sealed("a"))

    async def test_dates_stay(self) -> None:
        for blob_id in "bca":
            await self.upload(name(blob_id), sealed())
        large = await self.backend.receive(name("large"))
        await large.write([sealed(size=100_000)])
        await large.publish()
        before = await self.backend.list("alice", query(order_by="date"))
        self.assertEqual(before, ["b", "c", "a", "large"])
        self.folder.small.place(self.folder.small.backlog.names())
        self.assertTrue(self.is_there(name("b")))
        self.assertEqual(await self.backend.list("alice", query(order_by="date")), before)
        self.assertTrue(self.folder.ledger.is_right(name("b")))

    async def test_without_room_in_memory(self) -> None:
        await self.upload(name("a"), sealed(size=1000))
        self.folder.small.backlog.limit = 3000
        await self.backend.store([(name("b"), sealed()), (name("c"), sealed())])
        self.assertEqual([self.is_there(name(it)) for it in "abc"], [False, True, True])
        self.folder.small.place([name("a")])
        await self.upload(name("d"), sealed(size=1000))
        self.assertFalse(self.is_there(name("d")))

    async def test_after_one_was_removed(self) -> None:
        await self.upload(name("a"), sealed())
        await self.backend.delete(name("a"))
        await self.upload(name("b"), sealed())
        self.assertFalse(self.is_there(name("b")))

    async def test_without_room_on_the_disk(self) -> None:
        self.patch(small_blobs, "SPARE", 1 << 60)
        await self.upload(name("a"), sealed())
        self.assertTrue(self.is_there(name("a")))
        self.patch(small_blobs, "SPARE", 0)
        self.patch(small_blobs, "SPARE_FILES", 1 << 60)
        await self.upload(name("b"), sealed())
        self.assertTrue(self.is_there(name("b")))

    async def test_where_something_is_already(self) -> None:
        await self.upload(name("folder1"), sealed())
        self.folder.small.place([name("folder1")])
        await self.upload(name("folder2"), sealed())
        self.assertTrue(self.is_there(name("folder2")))

    async def test_the_first_of_a_namespace(self) -> None:
        first, second = name("a", namespace="new"), name("b", namespace="new")
        await self.upload(first, sealed())
        await self.upload(second, sealed())
        self.assertEqual([self.is_there(it) for it in (first, second)], [True, False])

    async def test_the_quota(self) -> None:
        QuotaFile(os.path.join(self.root, ".blobman", "quotas.json")).set("alice", 1000)
        await self.upload(name("a"), sealed())
        self.assertEqual(self.folder.accounts.used("alice"), 800)
        (outcome,) = await self.backend.store([(name("b"), sealed())])
        self.assertIsInstance(outcome, QuotaExceededError)
        await self.backend.delete(name("a"))
        self.assertEqual(self.folder.accounts.used("alice"), 0)
        await self.upload(name("b"), sealed())

    async def test_in_the_end_all_is_in_order(self) -> None:
        await self.upload(name("a"), sealed("a"))
        await self.backend.close()
        self.assertTrue(self.is_there(name("a")))
        self.assertEqual(os.listdir(os.path.join(self.root, ".blobman", "journal")), [])
        other = BlobFolder(self.root)
        self.assertTrue(other.open())
        self.addCleanup(other.close)
        self.assertEqual(other.index.list("alice", query()), ["a"])
        self.assertTrue(other.ledger.is_right(name("a")))

    async def test_the_journal_is_emptied(self) -> None:
        await self.upload(name("a"), sealed("a"))
        self.folder.settle()
        self.assertTrue(self.is_there(name("a")))
        self.assertEqual(os.listdir(os.path.join(self.root, ".blobman", "journal")), [])

    async def test_a_disk_that_is_full_later(self) -> None:
        await self.upload(name("a"), sealed("a"))
        await self.upload(name("b"), sealed("b"))
        patch = self.patch(disk, "write_new", no_space)
        for _ in range(3):
            self.assertRaises(OSError, self.folder.settle)
        self.assertEqual(len(self.segments()), 1)
        await self.fails(OSError, self.backend.delete(name("a")))
        self.assertEqual(await self.content(name("a")), sealed("a"))
        self.assertEqual(await self.backend.get_flags(name("a")), [])
        self.assertEqual(await self.backend.list("alice", query()), ["a", "b"])
        await self.fails(OSError, self.backend.store([(name("c"), sealed("c"))]))
        patch.restore()
        # It is no disk that has lost anything: it is tried again.
        self.folder.settle()
        self.assertTrue(self.is_there(name("a")))
        self.assertEqual(await self.backend.list("alice", query()), ["a", "b"])
        await self.backend.delete(name("a"))

    def segments(self) -> list[str]:
        return os.listdir(os.path.join(self.root, ".blobman", "journal"))

    async def test_a_disk_that_is_full_for_good(self) -> None:
        """It is full at the end, and at the next start as well."""
        await self.upload(name("a"), sealed("a"))
        await self.upload(name("b"), sealed("b"))
        patch = self.patch(disk, "write_new", no_space)
        for _ in range(2):
            await self.backend.close()
            await self.backend.open()
            self.assertEqual(await self.content(name("a")), sealed("a"))
            self.assertEqual(await self.backend.list("alice", query(order_by="date")), ["a", "b"])
            self.assertEqual(self.folder.accounts.used("alice"), 1600)
        patch.restore()
        self.folder.settle()
        self.assertEqual(self.segments(), [])
        self.assertEqual([self.is_there(name(it)) for it in "ab"], [True, True])
        self.assertEqual(await self.backend.list("alice", query(order_by="date")), ["a", "b"])

    async def test_one_that_is_in_nobody_elses_way(self) -> None:
        for blob_id in ("a", "bad", "c"):
            await self.upload(name(blob_id), sealed(blob_id))
        obstacle = os.path.dirname(self.path(name("bad")))
        os.makedirs(os.path.dirname(obstacle))
        Path(obstacle).touch()
        for _ in range(3):
            self.assertRaises(OSError, self.folder.settle)
        self.assertEqual([self.is_there(name(it)) for it in ("a", "bad", "c")], [True, False, True])
        self.assertEqual(len(self.segments()), 1)
        await self.backend.close()
        await self.backend.open()
        for blob_id in ("a", "bad", "c"):
            self.assertEqual(await self.content(name(blob_id)), sealed(blob_id))
        os.unlink(obstacle)
        self.folder.settle()
        self.assertTrue(self.is_there(name("bad")))
        self.assertEqual(self.segments(), [])

    async def test_what_changes_beside_one_that_can_not_be_restored(self) -> None:
        """What was restored is in the journal still: it must not be restored once more."""
        for blob_id in ("bad", "deleted", "flagged"):
            await self.upload(name(blob_id), sealed(blob_id))
        obstacle = os.path.dirname(self.path(name("bad")))
        os.makedirs(os.path.dirname(obstacle))
        Path(obstacle).touch()
        await self.crash()
        await self.backend.delete(name("deleted"))
        await self.backend.set_flags(name("flagged"), [Flags.FAILED])
        await self.crash()
        self.assertEqual(await self.backend.list("alice", query()), ["bad", "flagged"])
        self.assertEqual(await self.backend.list("alice", query(deleted=True)), ["deleted"])
        self.assertEqual(await self.backend.get_flags(name("flagged")), [Flags.FAILED])

    async def crash(self) -> None:
        """Go on with the folder as a kill would leave it."""
        root = self.mktemp()
        shutil.copytree(self.root, root)
        await self.backend.close()
        self.root, self.backend = root, FilesystemBackend(root, backlog=ROOM)
        await self.backend.open()

    def path(self, blob: BlobName) -> str:
        return path_of(self.root, blob)

    async def test_it_is_tried_again(self) -> None:
        clock = _Reactor()
        self.patch(self.backend, "_reactor", clock)
        self.patch(self.backend, "_run", execute)
        await self.upload(name("a"), sealed("a"))
        patch = self.patch(disk, "write_new", no_space)
        self.patch(filesystem, "JOURNAL_LIMIT", 1)
        clock.advance(filesystem.SETTLE_AFTER)
        (call,) = clock.getDelayedCalls()
        self.assertEqual(call.getTime() - clock.seconds(), filesystem.SETTLE_AGAIN_AFTER)
        patch.restore()
        clock.advance(filesystem.SETTLE_AGAIN_AFTER)
        self.assertTrue(self.is_there(name("a")))
        self.assertEqual(clock.getDelayedCalls(), [])

    async def test_one_that_somebody_else_puts_there(self) -> None:
        await self.upload(name("a"), sealed("a"))
        path = self.path(name("a"))
        os.makedirs(os.path.dirname(path))
        Path(path).write_bytes(sealed("by hand"))
        Path(path + ".flags").write_text('["FAILED"]')
        self.folder.small.place([name("a")])
        self.assertEqual(await self.content(name("a")), sealed("by hand"))
        self.assertEqual(await self.backend.get_flags(name("a")), [Flags.FAILED])
        self.assertEqual(await self.backend.list("alice", query(flag=Flags.FAILED)), ["a"])
        root = self.mktemp()
        shutil.copytree(self.root, root)
        after = BlobFolder(root)
        after.open()
        self.addCleanup(after.close)
        self.assertEqual(Path(path_of(root, name("a"))).read_bytes(), sealed("by hand"))

    async def test_what_keeps_its_place_is_no_blob(self) -> None:
        await self.upload(name("a"), sealed("a"))
        path = self.path(name("a"))
        os.makedirs(path)
        self.assertRaises(OSError, self.folder.small.place, [name("a")])
        self.assertEqual(await self.content(name("a")), sealed("a"))
        os.rmdir(path)
        self.folder.small.place([name("a")])
        self.assertTrue(self.is_there(name("a")))

    async def test_a_store_that_fails_leaves_none_behind(self) -> None:
        await self.upload(name("folder1"), sealed())
        self.folder.small.place([name("folder1")])
        patch = self.patch(disk, "write_new", no_space)
        batch = [(name("a"), sealed()), (name("folder2"), sealed())]
        await self.fails(OSError, self.backend.store(batch))
        patch.restore()
        self.assertEqual(self.folder.small.backlog.names(), [])
        self.assertEqual(await self.backend.list("alice", query()), ["folder1"])
        await self.fails(BlobNotFoundError, self.backend.read(name("a")))
        self.assertEqual(self.folder.accounts.used("alice"), 800)
        self.assertEqual(await self.backend.store(batch), [None, None])

    async def test_a_comparison_with_the_files(self) -> None:
        await self.upload(name("a"), sealed("a"))
        self.backend.watch.stop()
        self.backend.watch.begin()
        await self.backend.watch.compared
        self.assertEqual(await self.backend.list("alice", query()), ["a"])
        self.assertEqual(await self.content(name("a")), sealed("a"))


class QuietTests(TestCase):
    async def test_files_follow_when_nothing_is_asked_for(self) -> None:
        ignore_the_machine(self)
        self.patch(backlog, "QUIET", 0.001)
        root = self.mktemp()
        placed = threading.Event()
        place = SmallBlobs.place

        def tell(where: SmallBlobs, names: Collection[BlobName]) -> None:
            place(where, names)
            placed.set()

        self.patch(SmallBlobs, "place", tell)
        backend = FilesystemBackend(root, backlog=ROOM)
        await backend.open()
        self.addCleanup(backend.close)
        make_usable(backend._folder, ("alice", "default"))
        await backend.store([(name("a"), sealed("a"))])
        self.assertTrue(await deferToThread(placed.wait, 60))
        with open(path_of(root, name("a")), "rb") as file:
            self.assertEqual(file.read(), sealed("a"))


class FollowerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(backlog, "QUIET", 0.001)
        self.waiting = [name(f"b{number}") for number in range(3 * PORTION)]
        self.portions: list[int] = []
        self.errors: list[Exception] = []
        self.done = threading.Event()
        self.follower = Follower(lambda: list(self.waiting), self.place, self.fail_later)
        self.addCleanup(self.follower.end)

    def place(self, names: Collection[BlobName]) -> None:
        self.portions.append(len(names))
        self.disturb()
        self.waiting = [it for it in self.waiting if it not in names]
        if not self.waiting:
            self.done.set()

    def disturb(self) -> None:
        pass

    def fail_later(self, error: Exception) -> None:
        self.errors.append(error)
        self.done.set()

    def test_a_portion_after_the_other(self) -> None:
        self.follower.begin()
        self.assertTrue(self.done.wait(60))
        self.assertEqual(self.portions, [PORTION] * 3)

    def test_others_come_first(self) -> None:
        asked: list[list[BlobName]] = []

        def names() -> list[BlobName]:
            asked.append(list(self.waiting))
            return asked[-1]

        self.follower._names = names
        self.disturb = self.follower.put_off  # type: ignore[method-assign]
        self.follower.begin()
        self.assertTrue(self.done.wait(60))
        self.assertEqual(self.portions, [PORTION] * 3)
        # After each it was waited until it was quiet again.
        self.assertEqual(len(asked), 3)

    def test_a_failure_is_told_and_what_comes_next_is_tried(self) -> None:
        self.disturb = no_space  # type: ignore[method-assign]
        self.follower.begin()
        self.assertTrue(self.done.wait(60))
        self.assertEqual([type(it) for it in self.errors], [OSError])
        self.done.clear()
        self.disturb = lambda: None  # type: ignore[method-assign]
        self.follower.begin()
        self.assertTrue(self.done.wait(60))
        self.assertEqual(self.waiting, [])

    def test_what_comes_during_the_last_portion(self) -> None:
        more = [name("more")]

        def come() -> None:
            if more:
                self.waiting.append(more.pop())
                self.follower.begin()

        self.waiting = [name("a")]
        self.disturb = come  # type: ignore[method-assign]
        self.follower.begin()
        self.assertTrue(self.done.wait(60))
        self.assertEqual(self.portions, [1, 1])

    def test_an_end_while_some_wait(self) -> None:
        self.patch(backlog, "QUIET", 60)
        self.follower.begin()
        self.follower.end()
        self.assertEqual(self.portions, [])

    def test_an_end_without_a_beginning(self) -> None:
        self.follower.end()


class BacklogTests(SynchronousTestCase):
    def test_memory(self) -> None:
        made = Backlog(2 * (100 + backlog.OVERHEAD))
        made.add({name("a"): Waiting(bytes(100), 1)})
        self.assertTrue(made.has_room(bytes(100), 0))
        self.assertFalse(made.has_room(bytes(100), 1))
        self.assertFalse(made.has_room(bytes(101), 0))
        made.add({name("b"): Waiting(bytes(100), 2)})
        self.assertFalse(made.has_room(b"", 0))
        made.remove([name("a"), name("never")])
        self.assertEqual(made.names(), [name("b")])
        made.clear()
        self.assertEqual(made.names(), [])
        self.assertTrue(made.has_room(bytes(200), 0))


# -- against a model -------------------------------------------------------------------

IDS = ("a", "b", "long-1", "long-2", "x" * 254)


class _Synchronous(FilesystemBackend):
    """Does everything at once, in this thread."""

    def _run(self, call: Any, *arguments: object) -> Deferred[Any]:
        return execute(call, *arguments)


class _Reactor(Clock):
    def callFromThread(self, call: Any, *arguments: object) -> None:
        call(*arguments)


class FolderMachine(RuleBasedStateMachine):
    """A folder with a backlog, which may crash at any time, and a dictionary."""

    mktemp: Any

    def __init__(self) -> None:
        super().__init__()
        self.blobs: dict[str, bytes] = {}
        self.flags: dict[str, list[Flags]] = {}
        self.tombstones: set[str] = set()
        self.number = 0
        self.open_in(self.mktemp())

    def open_in(self, root: str) -> None:
        self.root = root
        self.folder = BlobFolder(root, 4 * (800 + backlog.OVERHEAD))
        self.begin()

    def begin(self) -> None:
        is_in_order = self.folder.open()
        backend = self.backend = _Synchronous(self.root, _Reactor())
        backend._folder, backend._is_open = self.folder, True
        backend._follower = Follower(list, lambda _: None, lambda _: None)
        backend._listing._folder = self.folder
        backend._prepare(is_in_order)
        make_usable(self.folder, ("alice", "default"))

    def teardown(self) -> None:
        self.folder.close()

    def result(self, deferred: Deferred[Any]) -> Any:
        results: list[Any] = []
        deferred.addBoth(results.append)
        return results[0]

    @rule(ids=st.lists(st.sampled_from(IDS), min_size=1, max_size=4, unique=True))
    def store(self, ids: list[str]) -> None:
        self.number += 1
        content = sealed(str(self.number))
        outcomes = self.folder.store([(name(it), content) for it in ids])
        for blob_id, outcome in zip(ids, outcomes, strict=True):
            assert (outcome is None) == (blob_id not in self.blobs), outcome
            if outcome is None:
                self.blobs[blob_id] = content
                self.flags[blob_id] = []

    @rule(blob_id=st.sampled_from(IDS))
    def delete(self, blob_id: str) -> None:
        failure = self.result(self.backend.delete(name(blob_id)))
        assert (failure is None) == (blob_id in self.blobs), failure
        if self.blobs.pop(blob_id, None):
            self.tombstones.add(blob_id)

    @rule(blob_id=st.sampled_from(IDS), flags=st.lists(st.sampled_from(Flags), unique=True))
    def set_flags(self, blob_id: str, flags: list[Flags]) -> None:
        failure = self.result(self.backend.set_flags(name(blob_id), flags))
        assert (failure is None) == (blob_id in self.blobs), failure
        if blob_id in self.blobs:
            self.flags[blob_id] = flags

    @rule(blob_id=st.sampled_from(IDS))
    def place(self, blob_id: str) -> None:
        self.folder.small.place([name(blob_id)])
        assert os.path.exists(path_of(self.root, name(blob_id))) == (blob_id in self.blobs)

    @rule()
    def settle(self) -> None:
        self.folder.settle()

    @rule()
    def close_and_open(self) -> None:
        self.folder.close()
        self.begin()

    @rule(is_halfway=st.booleans())
    def crash(self, is_halfway: bool) -> None:
        root = self.mktemp()
        if is_halfway and self.folder.small.backlog.names():
            self.folder.small.place(self.folder.small.backlog.names()[:1])
        shutil.copytree(self.root, root)
        self.folder.close()
        self.open_in(root)

    @invariant()
    def all_is_there(self) -> None:
        assert self.result(self.backend.list("alice", query())) == sorted(self.blobs)
        by_date = self.result(self.backend.list("alice", query(order_by="date")))
        assert by_date == list(self.blobs), by_date
        deleted = self.result(self.backend.list("alice", query(deleted=True)))
        assert deleted == sorted(self.tombstones)
        found = self.result(self.backend.read_some([name(it) for it in IDS], 1 << 20))
        contents = [None if it is None else it.content for it in found]
        assert contents == [self.blobs.get(it) for it in IDS]
        for blob_id in self.blobs:
            assert self.folder.get_flags(name(blob_id)) == self.flags[blob_id]
        used = self.folder.accounts.used("alice")
        assert used == sum(map(len, self.blobs.values())), used


class ModelTests(SynchronousTestCase):
    def test_a_folder_that_crashes(self) -> None:
        ignore_the_machine(self)
        self.patch(disk, "sync_file_system", lambda _: None)
        case = self

        class Machine(FolderMachine):
            mktemp = case.mktemp

        machine = Machine.TestCase
        machine.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
        machine("runTest").debug()
