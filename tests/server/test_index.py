"""The index is as good as a walk, and is put right when it is not; quotas are exact."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import SynchronousTestCase, TestCase

from blobman.errors import BlobAlreadyExistsError, QuotaExceededError, StoreError
from blobman.model import Flags
from blobman.server.accounts.quotas import Accounts, QuotaFile
from blobman.server.filesystem import FilesystemBackend
from blobman.server.folder import BlobFolder
from blobman.server.index import NOTHING, Entry, Index
from blobman.server.layout import folder_of
from blobman.server.walking import compare, put_right, rebuild

from .blobs import sealed
from .contract import name, query
from .owners import owners_below, work_as_root

VECTORS = Path(__file__).parent.parent / "vectors" / "soledad-server-dir"


class IndexTests(SynchronousTestCase):
    def setUp(self) -> None:
        folder = self.mktemp()
        os.mkdir(folder)
        self.path = os.path.join(folder, "index")

    def opened(self) -> tuple[Index, bool]:
        index = Index(self.path)
        was_clean = index.open()
        self.addCleanup(index.close, True)
        return index, was_clean

    def test_it_knows_how_it_was_closed(self) -> None:
        index, was_clean = self.opened()
        self.assertFalse(was_clean)
        index.close(True)
        index, was_clean = self.opened()
        self.assertTrue(was_clean)
        index.close(False)
        self.assertFalse(self.opened()[1])

    def test_a_damaged_file_is_made_anew(self) -> None:
        for content in (b"not a database", b"SQLite format 3\0" + bytes(4000), b""):
            Path(self.path).write_bytes(content)
            index, was_clean = self.opened()
            self.assertFalse(was_clean)
            index.note(name("a"), Entry(1, 2, 0, None))
            index.close(True)

    def test_what_is_noted_is_known(self) -> None:
        index, _ = self.opened()
        entry = Entry(800, 5, 3, 7)
        self.assertEqual(index.note(name("a"), entry), 800)
        self.assertEqual(index.look_up(name("a")), entry)
        self.assertEqual(index.entries("alice", "default", "a"), {"a": entry})
        self.assertEqual(index.entries("alice", "default", "b"), {})
        self.assertEqual(index.note(name("a"), NOTHING._replace(deleted=9)), -800)
        self.assertEqual(index.look_up(name("a")), NOTHING._replace(deleted=9))
        self.assertEqual(index.namespaces(), [("alice", "default")])
        self.assertEqual(index.note(name("a"), NOTHING), 0)
        self.assertEqual(index.namespaces(), [])

    def test_many_are_noted_as_each_would_be(self) -> None:
        one, many = Index(self.path + "1"), Index(self.path + "2")
        for index in one, many:
            index.open()
            self.addCleanup(index.close, True)
        kinds = [NOTHING, NOTHING._replace(deleted=1), Entry(8, 2, 0, None), Entry(9, 3, 1, 4, 5)]
        for before in kinds:
            entries = [(name(f"{number:03}"), kinds[number % 4]) for number in range(250)]
            all_before = [(it, before) for it, _ in entries]
            for them in all_before, entries:
                grown = [one.note(it, entry) for it, entry in them]
                self.assertEqual(many.note_all(them), grown)
            for it, entry in entries:
                self.assertEqual(one.look_up(it), entry)
                self.assertEqual(many.look_up(it), entry)
        self.assertEqual(many.note_all([]), [])

    def test_whether_it_agrees(self) -> None:
        index, _ = self.opened()
        kinds = [NOTHING, NOTHING._replace(deleted=1), Entry(8, 2, 0, None), Entry(8, 2, 1, 4, 5)]
        known = {name(str(number)): entry for number, entry in enumerate(kinds)}
        index.note_all(known.items())
        self.assertTrue(index.agrees(known))
        self.assertTrue(index.agrees({}))
        others = [*kinds, Entry(9, 2, 1, 4, 5), Entry(8, 3, 1, 4, 5), Entry(8, 2, 2, 4, 5)]
        others += [Entry(8, 2, 1, 5, 5), Entry(8, 2, 1, None, 5), Entry(8, 2, 1, 4, 6)]
        for it, entry in known.items():
            for other in others:
                self.assertEqual(index.agrees({it: other}), other == entry)
                self.assertEqual(index.agrees({**known, it: other}), other == entry)


IDS = st.text("ab_Z9-", min_size=1, max_size=8)
CHANGES = st.lists(
    st.tuples(st.sampled_from(["put", "delete", "flag", "lose", "forge"]), IDS), max_size=30
)


class WalkTests(SynchronousTestCase):
    @settings(max_examples=40, deadline=None)
    @given(CHANGES)
    def test_it_agrees_with_the_files(self, changes: list[tuple[str, str]]) -> None:
        root = self.mktemp()
        folder = BlobFolder(root)
        folder.open()
        try:
            for change, blob_id in changes:
                self.change(folder, change, blob_id)
            for correct in (lambda: self.go_on(folder), lambda: rebuild(folder)):
                correct()
                known = {
                    blob_id: entry
                    for prefix in folder.index.prefixes("alice", "default")
                    for blob_id, entry in folder.index.entries("alice", "default", prefix).items()
                }
                names = {blob_id for _, blob_id in changes}
                there = {it: folder.places.look(name(it)) for it in names}
                self.assertEqual(known, {it: at for it, at in there.items() if at != NOTHING})
                self.assertEqual(
                    folder.accounts.used("alice"), sum(at.size or 0 for at in there.values())
                )
        finally:
            folder.close()
            shutil.rmtree(root)

    def go_on(self, folder: BlobFolder) -> None:
        steps = compare(folder)
        while not put_right(folder, steps, 2):
            pass

    def change(self, folder: BlobFolder, change: str, blob_id: str) -> None:
        path = os.path.join(folder_of(folder.root, name(blob_id)), blob_id)
        if change in ("put", "forge"):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            Path(path).write_bytes(sealed(blob_id))
            if change == "put":
                folder.refresh(name(blob_id))
        elif os.path.exists(path):
            if change == "delete":
                folder.delete(name(blob_id))
            elif change == "flag":
                folder.set_flags(name(blob_id), [Flags.FAILED])
            else:
                os.unlink(path)


class StoreTests(SynchronousTestCase):
    """What is taken down of what is stored, without a look at it, is what a look would say."""

    def setUp(self) -> None:
        self.folder = BlobFolder(self.mktemp())
        self.folder.open()
        self.folder.count_usage()
        self.addCleanup(self.folder.close)

    def store(self, *ids: str) -> None:
        blobs = [(name(blob_id), sealed(blob_id)) for blob_id in ids]
        self.assertEqual(self.folder.store(blobs), [None] * len(ids))
        self.assertEqual([differing for _, differing in compare(self.folder) if differing], [])
        used = sum(size for _, size in self.folder.index.usage().values())
        self.assertEqual(self.folder.accounts.used("alice"), used)

    def test_in_new_folders_and_beside_others(self) -> None:
        self.store("a", "beside1", "beside2")
        self.store("a1", "beside3", "x" * 254)

    def test_beside_a_tombstone(self) -> None:
        self.store("a", "b", "x" * 254)
        for blob_id in ("a", "x" * 254):
            self.folder.set_flags(name(blob_id), [Flags.FAILED])
            self.folder.delete(name(blob_id))
        self.store("a", "x" * 254)

    def test_flags_that_a_crash_left(self) -> None:
        self.store("a")
        path = self.folder.places.blob(name("a"))
        os.rename(path, path + ".flags")
        self.folder.refresh(name("a"))
        self.store("a")

    def test_what_somebody_else_has_removed(self) -> None:
        self.store("a", "b")
        self.folder.delete(name("b"))
        shutil.rmtree(os.path.join(self.folder.root, "alice"))
        self.store("a", "b", "c")

    def test_somebody_elses_folder(self) -> None:
        work_as_root(self, self.folder.root)
        work_as_root(self, self.folder.staging)
        self.store("a", "b")
        owner = os.stat(self.folder.root)
        blobs = os.path.join(self.folder.root, "alice")
        self.assertEqual(owners_below(blobs), {(owner.st_uid, owner.st_gid)})


class SoledadTests(TestCase):
    """A folder that Soledad's server wrote is served as it stands."""

    async def setUp(self) -> None:  # type: ignore[override]
        self.root = self.mktemp()
        shutil.copytree(VECTORS / "data", self.root)
        self.backend = FilesystemBackend(self.root)
        await self.backend.open()
        self.addCleanup(lambda: self.backend.close())

    async def test_the_same_answers(self) -> None:
        expected = json.loads((VECTORS / "expected.json").read_text())["answers"]
        backend = self.backend
        answers: dict[str, Any] = {
            "list_default": await backend.list("bob", query()),
            "list_mail": await backend.list("bob", query(namespace="mail")),
            "deleted_default": await backend.list("bob", query(deleted=True)),
            "flag_FAILED": await backend.list("bob", query(flag=Flags.FAILED)),
            "flags_of_flagged": [
                it.value for it in await backend.get_flags(name("flagged", "bob"))
            ],
        }
        self.assertEqual(answers, expected)

    async def test_every_blob_is_served(self) -> None:
        for entry in json.loads((VECTORS / "expected.json").read_text())["blobs"]:
            blob = name(entry["blob_id"], "bob", entry["namespace"] or "default")
            if blob.blob_id == "erased":
                continue
            stored = await self.backend.read(blob)
            self.assertEqual(stored.size, entry["size"] + 753)
            stored.close()
            await self.backend.set_flags(blob, [Flags.PENDING])
            await self.backend.delete(blob)
        self.assertEqual(await self.backend.list("bob", query()), [])
        deleted = await self.backend.list("bob", query(deleted=True))
        self.assertEqual(deleted, ["erased", "first", "flagged", "second"])


class QuotaFileTests(SynchronousTestCase):
    def setUp(self) -> None:
        folder = self.mktemp()
        os.mkdir(folder)
        self.path = os.path.join(folder, "quotas")
        self.quotas = QuotaFile(self.path)

    def test_default_and_own(self) -> None:
        self.assertIsNone(self.quotas.get("alice"))
        self.quotas.set(None, 1000)
        self.quotas.set("alice", 10)
        self.quotas.set("bob", None)
        for quotas in (self.quotas, QuotaFile(self.path)):
            self.assertEqual([quotas.get(it) for it in ("alice", "bob", "carol")], [10, None, 1000])
        self.quotas.unset("alice")
        self.assertEqual(self.quotas.get("alice"), 1000)

    def test_changes_by_others_are_seen(self) -> None:
        self.assertIsNone(self.quotas.get("alice"))
        QuotaFile(self.path).set("alice", 5)
        self.assertEqual(self.quotas.get("alice"), 5)

    def test_what_can_not_be(self) -> None:
        self.assertRaises(ValueError, self.quotas.set, "alice", -1)
        self.assertRaises(ValueError, self.quotas.set, "../x", 1)
        Path(self.path).write_text("damaged")
        self.assertRaises(StoreError, self.quotas.get, "alice")

    @given(st.lists(st.tuples(st.booleans(), st.integers(0, 60)), max_size=20))
    def test_never_more_than_the_quota(self, steps: list[tuple[bool, int]]) -> None:
        self.quotas.set("alice", 100)
        accounts = Accounts(self.quotas)
        reserved: list[int] = []
        for is_kept, size in steps:
            try:
                accounts.reserve("alice", size)
            except QuotaExceededError:
                self.assertGreater(accounts.used("alice") + sum(reserved) + size, 100)
                if reserved:
                    accounts.settle("alice", reserved.pop(), 0)
                continue
            if is_kept:
                accounts.settle("alice", size, size)
            else:
                reserved.append(size)
            self.assertLessEqual(accounts.used("alice") + sum(reserved), 100)


class QuotaTests(TestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        self.root = self.mktemp()
        self.backend = FilesystemBackend(self.root)
        await self.backend.open()
        self.addCleanup(lambda: self.backend.close())
        QuotaFile(os.path.join(self.root, ".blobman", "quotas.json")).set("alice", 8000)

    async def upload(self, number: int, size: int | None = 800) -> str:
        try:
            upload = await self.backend.receive(name(f"a{number}"), size)
            try:
                await upload.write([sealed()])
            except QuotaExceededError:
                await upload.discard()
                raise
            await upload.publish()
        except QuotaExceededError:
            return "quota"
        return "created"

    async def test_exact_when_many_come_at_once(self) -> None:
        for size in (800, None):
            outcomes = await gatherResults(
                [Deferred.fromCoroutine(self.upload(number, size)) for number in range(30)]
            )
            self.assertEqual(outcomes.count("created"), 10)
            for blob_id in await self.backend.list("alice", query()):
                await self.backend.delete(name(blob_id))

    async def test_batches(self) -> None:
        batch = [(name(f"a{number}"), sealed()) for number in range(12)]
        outcomes = await self.backend.store([*batch, (name("a0"), sealed())])
        self.assertEqual(outcomes[:10], [None] * 10)
        refused = [QuotaExceededError, QuotaExceededError, BlobAlreadyExistsError]
        self.assertEqual([type(it) for it in outcomes[10:]], refused)
        await self.backend.delete(name("a0"))
        outcomes = await self.backend.store([(name("a1"), sealed()), (name("a0"), sealed())])
        self.assertEqual([type(it) for it in outcomes], [BlobAlreadyExistsError, type(None)])

    async def test_exact_after_a_start(self) -> None:
        for number in range(9):
            self.assertEqual(await self.upload(number), "created")
        await self.backend.close()
        os.unlink(os.path.join(self.root, ".blobman", "index.sqlite"))
        await self.backend.open()
        self.assertEqual(await self.upload(10), "created")
        self.assertEqual(await self.upload(11), "quota")
