"""The feed of a server whose folder is put back, and random histories that are followed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from blobman.errors import CursorExpiredError
from blobman.model import Flags, RemoteChange
from blobman.protocol import Cursor
from blobman.server.storage.backend import Backend
from blobman.server.storage.backends import folder_backend
from blobman.server.storage.catalogue.folder import CatalogueFolder
from blobman.server.storage.catalogue.writer import Writer

from ..blobs import name, open_memory_backend, sealed

T = TypeVar("T")

IDS = st.sampled_from("abcdefgh")


async def read_page(
    backend: Backend, cursor: Cursor | None, most: int = 1000
) -> tuple[list[RemoteChange], Cursor, bool]:
    changes: list[RemoteChange] = []
    async for part in backend.changes("alice", "default", cursor, most):
        changes += part.changes
        cursor = part.cursor
    return changes, Cursor.read(part.cursor.write()), part.more


def result_of(deferred: Deferred[T]) -> T:
    """Give the result of what has fired already."""
    results: list[T] = []
    deferred.addCallback(results.append)
    return results[0]


class PutBackTests(TestCase):
    """Cursors of a folder that has been put back, and of its copies."""

    async def setUp(self) -> None:  # type: ignore[override]
        self.folder = os.path.abspath(self.mktemp())
        self.backup = self.folder + "-backup"
        self.backend = folder_backend(self.folder)
        await self.backend.open()
        self.addCleanup(lambda: self.backend.close())

    async def put(self, *ids: str) -> None:
        outcomes = await self.backend.store([(name(it), sealed(it)) for it in ids])
        self.assertEqual(outcomes, [None] * len(ids))

    async def read(self, cursor: Cursor | None = None) -> tuple[list[str], Cursor]:
        changes, cursor, more = await read_page(self.backend, cursor)
        self.assertFalse(more)
        return [it.blob_id for it in changes], cursor

    async def restart(self, change: Callable[[], object] = lambda: None) -> None:
        """Stop, do something to the folder, and start again."""
        await self.backend.close()
        change()
        self.backend = folder_backend(self.folder)
        await self.backend.open()

    def save(self) -> None:
        shutil.copytree(self.folder, self.backup)

    def put_back(self) -> None:
        shutil.rmtree(self.folder)
        shutil.copytree(self.backup, self.folder)

    async def assert_expired(self, *cursors: Cursor) -> None:
        for cursor in cursors:
            with self.assertRaises(CursorExpiredError):
                await self.read(cursor)

    async def test_restarts_alone_change_nothing(self) -> None:
        _, empty = await self.read()
        await self.restart()
        self.assertEqual((await self.read(empty))[0], [])
        await self.put("a")
        ids, cursor = await self.read(empty)
        self.assertEqual(ids, ["a"])
        for number in range(3):
            await self.restart()
            await self.put(f"b{number}")
            ids, cursor = await self.read(cursor)
            self.assertEqual(ids, [f"b{number}"])
        self.assertEqual((await self.read(empty))[0], ["a", "b0", "b1", "b2"])

    async def test_an_older_one(self) -> None:
        await self.put("a", "b")
        _, known = await self.read()
        await self.restart(self.save)
        await self.put("c")
        _, later = await self.read()
        await self.restart(self.put_back)
        await self.assert_expired(later)
        self.assertEqual((await self.read(known))[0], [])
        # It soon reaches the same numbers again, and beyond.
        await self.put("x", "y", "z")
        await self.assert_expired(later)
        self.assertEqual((await self.read(known))[0], ["x", "y", "z"])

    async def test_an_older_one_of_the_same_run(self) -> None:
        await self.put("a")
        _, known = await self.read()
        # As long as it is not written, the files are a whole: a copy of a server that runs.
        self.save()
        await self.put("b")
        _, later = await self.read()
        await self.restart(self.put_back)
        await self.assert_expired(later)
        await self.put("x", "y")
        await self.assert_expired(later)
        self.assertEqual((await self.read(known))[0], ["x", "y"])

    async def test_two_copies_that_go_on(self) -> None:
        await self.put("a")
        await self.restart(self.save)
        await self.put("b")
        _, of_one = await self.read()
        await self.restart(self.put_back)
        await self.put("c")
        _, of_other = await self.read()
        self.assertEqual(of_one.number, of_other.number)
        await self.assert_expired(of_one)

    async def test_copies_of_an_empty_one(self) -> None:
        await self.restart(self.save)
        await self.put("b")
        _, of_one = await self.read()
        await self.restart(self.put_back)
        await self.put("c")
        await self.assert_expired(of_one)

    async def test_one_that_is_said_to_be_restored(self) -> None:
        await self.put("a")
        await self.restart()
        await self.put("b")
        _, cursor = await self.read()
        catalogue = CatalogueFolder(os.path.join(self.folder, ".blobman"))
        await self.restart(Writer(catalogue, lambda: 1).begin_history)
        await self.assert_expired(cursor)
        ids, cursor = await self.read()
        self.assertEqual(ids, ["a", "b"])
        # Once: whoever has compared has a cursor that stays good.
        await self.restart()
        await self.put("c")
        self.assertEqual((await self.read(cursor))[0], ["c"])


class FollowerMachine(RuleBasedStateMachine):
    """A follower that reads pages of any size sees in the end what is there."""

    def __init__(self) -> None:
        super().__init__()
        self.backend = open_memory_backend()
        self.there: dict[str, tuple[Flags, ...]] = {}
        self.seen: dict[str, tuple[Flags, ...]] = {}
        self.cursor: Cursor | None = None

    @rule(blob_id=IDS)
    def put(self, blob_id: str) -> None:
        outcomes = result_of(self.backend.store([(name(blob_id), sealed(blob_id))]))
        if outcomes == [None]:
            self.there[blob_id] = ()

    @precondition(lambda self: self.there)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        blob_id = data.draw(st.sampled_from(sorted(self.there)))
        result_of(self.backend.delete(name(blob_id)))
        del self.there[blob_id]

    @precondition(lambda self: self.there)
    @rule(data=st.data(), flags=st.lists(st.sampled_from(Flags), max_size=2))
    def flag(self, data: st.DataObject, flags: list[Flags]) -> None:
        blob_id = data.draw(st.sampled_from(sorted(self.there)))
        result_of(self.backend.set_flags(name(blob_id), flags))
        self.there[blob_id] = tuple(flags)

    @rule()
    def begin_anew(self) -> None:
        self.cursor = None
        self.seen = {}

    @rule(most=st.integers(1, 9))
    def read(self, most: int) -> None:
        self.read_more(most)

    def read_more(self, most: int) -> bool:
        is_first = self.cursor is None
        reading = Deferred.fromCoroutine(read_page(self.backend, self.cursor, most))
        changes, self.cursor, more = result_of(reading)
        ids = [change.blob_id for change in changes]
        assert len(ids) == len(set(ids)) <= most
        for change in changes:
            assert not (is_first and change.is_deleted)
            if change.is_deleted:
                self.seen.pop(change.blob_id, None)
            else:
                self.seen[change.blob_id] = change.flags
        return more

    @invariant()
    def whoever_reads_on_sees_what_is_there(self) -> None:
        cursor, seen = self.cursor, dict(self.seen)
        while self.read_more(3):
            pass
        assert self.seen == self.there
        self.cursor, self.seen = cursor, seen


class FollowerTests(SynchronousTestCase):
    def test_random_histories(self) -> None:
        run_state_machine_as_test(
            FollowerMachine, settings=settings(max_examples=40, stateful_step_count=30)
        )
