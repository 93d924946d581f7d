"""Bytes that flip, files that are cut or missing: an error that says so, and never a wrong byte."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase, TestCase

from blobman.errors import StoreError
from blobman.model import Flags
from blobman.server.storage.backend import Backend
from blobman.server.storage.catalogue.connection import PAGE_SIZE, connect, store_errors
from blobman.server.storage.catalogue.folder import CatalogueFolder
from blobman.server.storage.catalogue.interface import Publication
from blobman.server.storage.catalogue.questions import Questions
from blobman.server.storage.catalogue.sqlite import SQLiteCatalogue
from blobman.server.storage.catalogue.visiting import changing
from blobman.server.storage.catalogue.writer import Publishing, Writer
from blobman.server.storage.digests import CHUNK
from blobman.server.storage.interface import BlobName, DamagedError
from blobman.server.storage.payloads.folder import FolderPayloads
from blobman.testing.contracts.support import Consumer, name, query, sealed
from blobman.threads import Work

NAMES = [name(f"blob-{number:02}") for number in range(40)]
FILES = ("catalogue.sqlite", "catalogue.sqlite-wal", "last-number")


def content_of(blob: BlobName) -> bytes:
    """Some are in one page, some in several."""
    return sealed(blob.blob_id, 800 + 500 * int(blob.blob_id[-2:]))


def writer_of(folder: str) -> Writer:
    return Writer(CatalogueFolder(folder), time.time_ns)


def run(writer: Writer, *calls: object) -> None:
    works: list[Work[object]] = [Work(call) for call in calls]
    writer.run(works)
    for work in works:
        work.tell()


class CatalogueDamageTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = self.mktemp()
        writer = writer_of(self.folder)
        writer.open()
        for blob in NAMES:
            content = content_of(blob)
            run(writer, Publishing([Publication(blob, len(content), content[-16:], content)]))
        run(writer, lambda it: it.set_flags(NAMES[0], [Flags.FAILED]))
        # As a kill leaves it: much is in the log only.
        self.crashed = self.mktemp()
        self.copy(self.folder, self.crashed)
        writer.close()
        self.chance = random.Random(1)

    def copy(self, folder: str, to: str) -> None:
        shutil.rmtree(to, ignore_errors=True)
        os.mkdir(to)
        for file in FILES:
            if os.path.exists(os.path.join(folder, file)):
                shutil.copy(os.path.join(folder, file), to)

    def spoiled(self, folder: str) -> str:
        """Make a copy that is to be spoiled."""
        copy = f"{self.folder}-copy"
        self.copy(folder, copy)
        return copy

    def flip(self, path: str, at: int) -> None:
        with open(path, "r+b") as file:
            file.seek(at)
            (byte,) = file.read(1)
            file.seek(at)
            file.write(bytes([byte ^ self.chance.choice([1, 16, 255])]))

    def check(self, folder: str) -> tuple[int, int]:
        """
        Open it, and ask for everything.

        :return: how many blobs were right, and how many were told to be damaged. All of them are
            if it can't be opened.
        """
        writer = writer_of(folder)
        try:
            writer.open()
        except StoreError:
            return 0, len(NAMES)
        writer.close()
        connection = connect(os.path.join(folder, "catalogue.sqlite"), 100_000)
        questions = Questions(connection)
        right = sum(self.is_right(self.ask_blob, questions, blob) for blob in NAMES)
        lists = self.ask_list, self.ask_changes, self.ask_flags
        damaged = len(NAMES) - right + sum(not self.is_right(ask, questions) for ask in lists)
        connection.close()
        return right, damaged

    def is_right(self, ask: Callable[..., None], *them: object) -> bool:
        """Tell whether what is asked is answered; if it is, it is right."""
        try:
            with store_errors():
                ask(*them)
        except DamagedError:
            return False
        return True

    def ask_blob(self, questions: Questions, blob: BlobName) -> None:
        (entry,) = questions.find([blob], 1)
        # Not "not there", and nothing else.
        self.assertEqual(entry and entry.content, content_of(blob), blob)

    def ask_list(self, questions: Questions) -> None:
        ids = [blob.blob_id for blob in NAMES]
        for order in (None, "date"):
            page = questions.page("alice", query(order_by=order), None, 100)
            self.assertEqual(page.ids, ids)
        self.assertEqual(questions.count("alice", query()), len(NAMES))

    def ask_changes(self, questions: Questions) -> None:
        changes = questions.changes("alice", "default", 0, 100)
        self.assertEqual(len(changes), len(NAMES))
        self.assertEqual(questions.last_number(), len(NAMES) + 1)

    def ask_flags(self, questions: Questions) -> None:
        self.assertEqual(questions.get_flags(NAMES[0]), [Flags.FAILED])
        page = questions.page("alice", query(flag=Flags.FAILED), None, 100)
        self.assertEqual(page.ids, [NAMES[0].blob_id])

    def test_nothing(self) -> None:
        for folder in (self.folder, self.crashed):
            self.assertEqual(self.check(self.spoiled(folder)), (len(NAMES), 0))

    def test_a_byte_of_each_page(self) -> None:
        pages = os.path.getsize(os.path.join(self.folder, FILES[0])) // PAGE_SIZE
        self.assertGreater(pages, 30)
        most_contained = 0
        for page in range(pages):
            folder = self.spoiled(self.folder)
            # All is in the file, and the log is old.
            os.unlink(os.path.join(folder, FILES[1]))
            at = page * PAGE_SIZE + self.chance.randrange(PAGE_SIZE)
            self.flip(os.path.join(folder, FILES[0]), at)
            right, damaged = self.check(folder)
            if damaged:
                most_contained = max(most_contained, right)
        # A page of content is that of few blobs.
        self.assertGreaterEqual(most_contained, len(NAMES) - 4)

    def test_a_file_that_is_cut(self) -> None:
        size = os.path.getsize(os.path.join(self.folder, FILES[0]))
        for cut in (
            1,
            100,
            4096,
            PAGE_SIZE - 1,
            PAGE_SIZE,
            3 * PAGE_SIZE,
            size // 2,
            size - 1,
            size,
        ):
            folder = self.spoiled(self.folder)
            os.unlink(os.path.join(folder, FILES[1]))
            os.truncate(os.path.join(folder, FILES[0]), size - cut)
            self.assertEqual(self.check(folder), (0, len(NAMES)), cut)

    def test_a_byte_of_each_frame_of_the_log(self) -> None:
        size = os.path.getsize(os.path.join(self.crashed, FILES[1]))
        told = 0
        for at in range(16, size, PAGE_SIZE // 2):
            folder = self.spoiled(self.crashed)
            self.flip(os.path.join(folder, FILES[1]), at)
            right, damaged = self.check(folder)
            self.assertIn((right, damaged > 0), [(len(NAMES), False), (0, True)], at)
            told += damaged > 0
        self.assertGreater(told, 10)

    def test_nobody_writes_to_a_log_that_is_damaged(self) -> None:
        """An administrator neither, where there is no server that has looked before."""
        log = os.path.join(self.folder, FILES[1])
        self.flip(log, os.path.getsize(log) - 10)
        before = Path(log).read_bytes()
        with self.assertRaises(DamagedError), changing(self.folder) as changes:
            changes.set_quota("alice", 1)
        self.assertEqual(Path(log).read_bytes(), before)

    def test_a_log_that_is_cut(self) -> None:
        size = os.path.getsize(os.path.join(self.crashed, FILES[1]))
        for left in (0, 10, 32, size // 3, size // 2, size - 1):
            folder = self.spoiled(self.crashed)
            os.truncate(os.path.join(folder, FILES[1]), left)
            self.assertEqual(self.check(folder), (0, len(NAMES)), left)

    def test_a_log_that_is_missing(self) -> None:
        folder = self.spoiled(self.crashed)
        os.unlink(os.path.join(folder, FILES[1]))
        error = self.assertRaises(StoreError, writer_of(folder).open)
        self.assertIn("has lost changes", str(error))

    def test_an_older_one_that_was_put_back(self) -> None:
        writer = writer_of(self.folder)
        writer.open()
        older = self.spoiled(self.folder)
        run(writer, lambda it: it.delete(NAMES[0]))
        writer.close()
        for file in FILES[:2]:
            shutil.copy(os.path.join(older, file), self.folder)
        writer = writer_of(self.folder)
        error = self.assertRaises(DamagedError, writer.open)
        self.assertIn("If an older one was put back", str(error))
        # Unless it was meant.
        self.assertEqual(writer.begin_history(), len(NAMES) + 1)
        self.assertEqual(self.check(self.folder), (len(NAMES), 0))
        connection = connect(os.path.join(self.folder, FILES[0]), 100_000)
        generations = Questions(connection).generations()
        connection.close()
        self.assertEqual([it.first for it in generations], [len(NAMES) + 2])

    def test_a_commit_that_nobody_was_told_of(self) -> None:
        """It may be there, or not."""
        folder = self.spoiled(self.crashed)
        with open(os.path.join(folder, FILES[2]), "r+b") as file:
            file.truncate(0)
        self.assertEqual(self.check(folder), (len(NAMES), 0))

    def test_a_later_version(self) -> None:
        connection = connect(os.path.join(self.folder, FILES[0]), 100_000)
        connection.pragma("user_version", 1000)
        connection.close()
        error = self.assertRaises(StoreError, writer_of(self.folder).open)
        self.assertIn("later version", str(error))

    def test_what_is_no_catalogue(self) -> None:
        for content in (b"", b"x", b"nothing of the kind" * 1000):
            with open(os.path.join(self.folder, FILES[0]), "wb") as file:
                file.write(content)
            os.unlink(os.path.join(self.folder, FILES[1]))
            self.assertRaises(StoreError, writer_of(self.folder).open)
            with open(os.path.join(self.folder, FILES[1]), "wb"):
                pass


class PayloadDamageTests(TestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        self.root = self.mktemp()
        self.backend = Backend(SQLiteCatalogue(self.root), FolderPayloads(self.root), reactor)
        await self.backend.open()
        self.addCleanup(lambda: self.backend.close())
        self.contents = {name(it): sealed(it, 3 * CHUNK + 1000) for it in "ab"}
        for blob, content in self.contents.items():
            upload = await self.backend.receive(blob, len(content))
            await upload.write([content])
            await upload.publish()

    async def path(self, blob: BlobName) -> str:
        (entry,) = await self.backend.catalogue.find([blob], 1)
        assert entry is not None
        assert entry.key is not None
        return os.path.join(self.root, ".blobman", "payloads", entry.key[:2], entry.key)

    async def read(self, blob: BlobName, start: int = 0, end: int | None = None) -> bytes | None:
        """Read a part; None if it is told to be damaged, and then what came before is right."""
        consumer = Consumer()
        try:
            stored = await self.backend.read(blob)
            try:
                await stored.write_to(consumer, start, end)
            finally:
                stored.close()
        except DamagedError:
            self.assertEqual(consumer.content, self.contents[blob][start:][: len(consumer.content)])
            return None
        return consumer.content

    async def test_a_byte_of_each_chunk(self) -> None:
        first, second = self.contents
        path = await self.path(first)
        whole = self.contents[first]
        for at in (0, CHUNK - 1, CHUNK, 2 * CHUNK + 5, 3 * CHUNK, len(whole) - 1):
            with open(path, "r+b") as file:
                file.seek(at)
                file.write(bytes([whole[at] ^ 1]))
            self.assertIsNone(await self.read(first))
            self.assertIsNone(await self.read(first, at, at + 1))
            for number in range(4):
                start, end = number * CHUNK, min((number + 1) * CHUNK, len(whole))
                part = await self.read(first, start, end)
                self.assertEqual(part, None if start <= at < end else whole[start:end])
            self.assertEqual(await self.read(second), self.contents[second])
            with open(path, "r+b") as file:
                file.seek(at)
                file.write(whole[at : at + 1])
        self.assertEqual(await self.read(first), whole)

    async def test_one_that_is_cut(self) -> None:
        first, second = self.contents
        path = await self.path(first)
        for size in (len(self.contents[first]) - 1, CHUNK + 1, CHUNK, 1, 0):
            os.truncate(path, size)
            self.assertIsNone(await self.read(first))
            # What is sent to somebody who asks for the tag is checked, too.
            self.assertIsNone(await self.read(first, len(self.contents[first]) - 2))
        self.assertEqual(await self.read(second), self.contents[second])

    async def test_one_that_is_missing(self) -> None:
        first, second = self.contents
        os.unlink(await self.path(first))
        self.assertIsNone(await self.read(first))
        (found,) = await self.backend.read_some([second, first], 1)
        assert found is not None
        found.close()
        await self.assertFailure(self.backend.read_some([first, second], 1), DamagedError)
        await self.backend.delete(first)

    async def test_another_ones(self) -> None:
        first, second = self.contents
        shutil.copy(await self.path(second), await self.path(first))
        self.assertIsNone(await self.read(first))
