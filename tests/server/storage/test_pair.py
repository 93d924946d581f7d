"""A catalogue and a store of payloads that is apart from it know each other."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase, TestCase

from blobman.errors import StoreError
from blobman.server.storage.backend import Backend
from blobman.server.storage.catalogue.sqlite import SQLiteCatalogue
from blobman.server.storage.interface import UnavailableError
from blobman.server.storage.payloads.folder import FolderPayloads
from blobman.server.storage.payloads.memory import MemoryPayloads
from blobman.server.storage.payloads.pair import check_pair
from blobman.testing.contracts.support import name, sealed


class PairTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.catalogue = self.new_catalogue()
        self.payloads = self.new_payloads()

    def new_catalogue(self) -> SQLiteCatalogue:
        catalogue = SQLiteCatalogue()
        self.successResultOf(catalogue.open())
        self.addCleanup(catalogue.close)
        return catalogue

    def new_payloads(self) -> MemoryPayloads:
        payloads = MemoryPayloads()
        payloads.is_apart = True
        return payloads

    def check(self, **given: Any) -> Deferred[None]:
        pair = {"catalogue": self.catalogue, "payloads": self.payloads, **given}
        return Deferred.fromCoroutine(check_pair(**pair))

    def refused(self, **given: Any) -> str:
        return str(self.failureResultOf(self.check(**given), StoreError).value)

    def test_both_are_new(self) -> None:
        self.successResultOf(self.check())
        mark = self.successResultOf(self.catalogue.store_mark())
        self.assertEqual(mark, (self.payloads.mark, True))
        self.successResultOf(self.check())
        self.assertEqual(self.successResultOf(self.catalogue.store_mark()), mark)

    def test_an_empty_store_in_its_place(self) -> None:
        self.successResultOf(self.check())
        empty = self.new_payloads()
        self.assertIn("bears no mark", self.refused(payloads=empty))
        self.assertIsNone(empty.mark)

    def test_that_of_another_catalogue(self) -> None:
        self.successResultOf(self.check())
        self.assertIn("another catalogue", self.refused(catalogue=self.new_catalogue()))
        other_catalogue, other = self.new_catalogue(), self.new_payloads()
        self.successResultOf(self.check(catalogue=other_catalogue, payloads=other))
        self.assertIn("another catalogue", self.refused(payloads=other))

    def test_a_catalogue_whose_payloads_are_apart(self) -> None:
        self.successResultOf(self.check())
        self.assertIn("in another store", self.refused(payloads=MemoryPayloads()))

    def test_interrupted_anywhere(self) -> None:
        broken = UnavailableError("broken")
        for place, method in (
            (self.payloads, "read_mark"),
            (self.catalogue, "note_store_mark"),
            (self.payloads, "write_mark"),
            (self.catalogue, "confirm_store_mark"),
        ):
            patch = self.patch(place, method, lambda *_: fail(broken))
            self.assertEqual(self.refused(), "broken")
            patch.restore()
        self.successResultOf(self.check())
        self.assertIsNotNone(self.payloads.mark)

    def test_two_processes_begin_at_once(self) -> None:
        """Each finds what the other has done by then, whatever that is."""
        for method in ("read_mark", "write_mark"):
            self.setUp()
            self.let_another_come_first(method)
            self.successResultOf(self.check())
            mark = self.successResultOf(self.catalogue.store_mark())
            self.assertEqual(mark, (self.payloads.mark, True))

    def let_another_come_first(self, method: str) -> None:
        original = getattr(self.payloads, method)

        def call(*arguments: Any) -> Any:
            patch.restore()
            result = original(*arguments)
            self.successResultOf(self.check())
            return result

        patch = self.patch(self.payloads, method, call)

    def test_payloads_that_are_beside_the_catalogue(self) -> None:
        backend = Backend(self.catalogue, beside := MemoryPayloads(), None)
        self.successResultOf(backend.open())
        upload = self.successResultOf(backend.receive(name("a"), 200_000))
        self.successResultOf(upload.write([sealed("a", 200_000)]))
        self.successResultOf(upload.publish())
        self.assertEqual(len(beside.contents), 1)
        self.assertIn("beside it", self.refused())
        self.assertIsNone(self.payloads.mark)


class FolderPairTests(TestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        self.own, self.data = self.mktemp(), self.mktemp()
        await self.opened_and_closed()

    async def opened_and_closed(self) -> None:
        backend = Backend(
            SQLiteCatalogue(self.own), FolderPayloads(self.data, is_apart=True), clock=None
        )
        try:
            await backend.open()
        finally:
            await backend.close()

    async def refused(self) -> str:
        error: Any = await self.assertFailure(
            Deferred.fromCoroutine(self.opened_and_closed()), StoreError
        )
        return str(error)

    async def test_a_folder_that_is_not_mounted(self) -> None:
        os.rename(self.data, self.data + "-away")
        os.mkdir(self.data)
        self.assertIn("bears no mark", await self.refused())
        os.rmdir(os.path.join(self.data, ".blobman", "payloads"))
        os.rmdir(os.path.join(self.data, ".blobman"))
        os.rmdir(self.data)
        os.rename(self.data + "-away", self.data)
        await self.opened_and_closed()

    async def test_a_mark_that_can_not_be_read(self) -> None:
        path = os.path.join(self.data, ".blobman", "mark")
        with open(path, "wb") as file:
            file.write(b"\xff")
        self.assertIn("damaged", await self.refused())
        os.unlink(path)
        os.mkdir(path)
        self.assertIn("damaged", await self.refused())
