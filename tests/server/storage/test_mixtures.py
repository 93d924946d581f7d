"""
Files of a catalogue from several moments, put together: what was there, or an error before anything
is written.

``BLOBMAN_TEST_DAMAGES`` says how many are tried of each kind.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable

from twisted.trial.unittest import TestCase

from blobman.errors import BlobNotFoundError, StoreError
from blobman.model import Flags
from blobman.protocol import ListQuery
from blobman.server.running.administration import restored
from blobman.server.storage.backend import Backend
from blobman.server.storage.backends import folder_backend
from blobman.server.storage.catalogue.folder import CatalogueFolder
from blobman.server.storage.catalogue.interface import Publication
from blobman.server.storage.catalogue.transaction import Transaction
from blobman.server.storage.catalogue.visiting import changing
from blobman.server.storage.catalogue.writer import Publishing, Writer
from blobman.server.storage.interface import BlobName
from blobman.server.storage.maintenance.check import check
from blobman.server.storage.maintenance.repair import repair
from blobman.testing.contracts.support import name, query
from blobman.threads import Work

from ..blobs import sealed
from .truth import listed, read

MIXTURES = int(os.environ.get("BLOBMAN_TEST_DAMAGES", "20"))
SEED = os.environ.get("BLOBMAN_TEST_SEED", "1")

DATABASE, LOG = "catalogue.sqlite", "catalogue.sqlite-wal"
FILES = (DATABASE, LOG, "last-number", "log-moved")

Blobs = dict[BlobName, tuple[int, tuple[Flags, ...]]]
"""The size and the flags of each blob."""


class MixtureTests(TestCase):
    timeout = 900 + 6 * MIXTURES

    def setUp(self) -> None:
        self.chance = random.Random(SEED)
        self.data, self.copy = (os.path.abspath(self.mktemp()) for _ in range(2))
        self.moments: list[tuple[str, Blobs]] = []
        self.blobs: Blobs = {}
        self.names: list[BlobName] = []
        self.live()

    # -- moments -----------------------------------------------------------------------

    def live(self) -> None:
        """Run servers, one after another, and keep what a kill would have left at many moments."""
        for _ in range(4):
            writer = Writer(CatalogueFolder(own(self.data)), time.time_ns)
            writer.open()
            self.keep_moment()
            for _ in range(4):
                for _ in range(self.chance.randrange(1, 12)):
                    self.change(writer)
                self.keep_moment()
                if self.chance.random() < 0.5:
                    writer.rest()
                    self.keep_moment()
            writer.close()
            self.keep_moment()

    def keep_moment(self) -> None:
        folder = os.path.abspath(self.mktemp())
        shutil.copytree(own(self.data), folder)
        self.moments.append((folder, dict(self.blobs)))

    def change(self, writer: Writer) -> None:
        """Put a blob, delete one, or change its flags."""
        kind = self.chance.choice(("put", "put", "put", "flag", "delete"))
        if kind == "put" or not self.blobs:
            blob, size = (
                name(f"blob-{len(self.names):03}"),
                self.chance.choice((800, 9_000, 40_000)),
            )
            content = sealed(str(blob), size)
            self.names.append(blob)
            self.blobs[blob] = size, ()
            run(writer, Publishing([Publication(blob, size, content[-16:], content)]))
            return
        blob = self.chance.choice(sorted(self.blobs))
        if kind == "flag":
            self.blobs[blob] = self.blobs[blob][0], (Flags.FAILED,)
            run(writer, lambda it: it.set_flags(blob, [Flags.FAILED]))
        else:
            del self.blobs[blob]
            run(writer, lambda it: it.delete(blob))

    def pairs(self) -> list[tuple[int, int]]:
        """Draw pairs of an earlier moment and a later one."""
        found = [(old, new) for new in range(len(self.moments)) for old in range(new)]
        return self.chance.sample(found, min(len(found), MIXTURES))

    # -- mixtures ----------------------------------------------------------------------

    def mix(self, moments: dict[str, int]) -> None:
        """Make a data folder of files of those moments."""
        shutil.rmtree(self.copy, ignore_errors=True)
        os.makedirs(own(self.copy))
        for file, moment in moments.items():
            path = os.path.join(self.moments[moment][0], file)
            if os.path.exists(path):
                shutil.copy(path, own(self.copy))

    def contents(self) -> list[bytes]:
        found = []
        for file in (DATABASE, LOG):
            with open(os.path.join(own(self.copy), file), "rb") as opened:
                found.append(opened.read())
        return found

    async def is_refused(self, moment: int) -> bool:
        """Open it. Either that is refused, and nothing has changed; or all of a moment is there."""
        before = self.contents()
        backend = folder_backend(self.copy)
        try:
            await backend.open()
        except StoreError:
            self.assertEqual(self.contents(), before)
            self.assertTrue(any(check(self.copy, deep=True)))
            return True
        try:
            await self.check_blobs(backend, self.moments[moment][1])
        finally:
            await backend.close()
        self.assertEqual([it.text for it in check(self.copy, deep=True)], [])
        return False

    async def check_blobs(self, backend: Backend, blobs: Blobs) -> None:
        flagged = [it for it in blobs if blobs[it][1]]
        lists: tuple[tuple[ListQuery, list[BlobName]], ...] = (
            (query(), list(blobs)),
            (query(flag=Flags.FAILED), flagged),
        )
        for asked, expected in lists:
            ids = await listed(backend, "alice", asked)
            self.assertEqual(ids, sorted(it.blob_id for it in expected))
        for blob, (size, flags) in blobs.items():
            self.assertTrue(await read(backend, blob) == sealed(str(blob), size))
            self.assertEqual(await backend.get_flags(blob), list(flags))
        for blob in set(self.names) - set(blobs):
            await self.assertFailure(backend.get_flags(blob), BlobNotFoundError)

    async def try_pairs(self, mixed: Callable[[int, int], dict[str, int]]) -> None:
        refused, pairs = 0, self.pairs()
        for old, new in pairs:
            self.mix(mixed(old, new))
            try:
                refused += await self.is_refused(new)
            except Exception as error:
                raise self.failureException(f"moments {old} and {new}: {error!r}") from error
        self.assertGreater(refused, len(pairs) // 4)

    async def test_all_of_one_moment(self) -> None:
        for moment in range(len(self.moments)):
            self.mix(dict.fromkeys(FILES, moment))
            self.assertFalse(await self.is_refused(moment), moment)

    async def test_an_older_database(self) -> None:
        await self.try_pairs(lambda old, new: {**dict.fromkeys(FILES, new), DATABASE: old})

    async def test_an_older_log(self) -> None:
        await self.try_pairs(lambda old, new: {**dict.fromkeys(FILES, new), LOG: old})

    async def test_an_older_copy_beside_the_log_that_was_there(self) -> None:
        await self.try_pairs(lambda old, new: {**dict.fromkeys(FILES, old), LOG: new})

    async def test_nothing_but_the_database_and_its_log(self) -> None:
        await self.try_pairs(lambda old, new: {DATABASE: old, LOG: new})


class WhatToDoTests(TestCase):
    """A database that was put back beside the log of a later one."""

    def setUp(self) -> None:
        self.data = os.path.abspath(self.mktemp())
        self.log = os.path.join(own(self.data), LOG)
        path = os.path.join(own(self.data), DATABASE)
        writer = Writer(CatalogueFolder(own(self.data)), time.time_ns)
        writer.open()
        self.put(writer, "first")
        writer.rest()
        with open(path, "rb") as file:
            older = file.read()
        self.put(writer, "second")
        writer.rest()
        self.put(writer, "third")
        crashed = os.path.abspath(self.mktemp())
        shutil.copytree(self.data, crashed)
        writer.close()
        shutil.rmtree(self.data)
        shutil.copytree(crashed, self.data)
        with open(path, "wb") as file:
            file.write(older)

    def put(self, writer: Writer, blob_id: str) -> None:
        content = sealed(blob_id)
        run(writer, Publishing([Publication(name(blob_id), 800, content[-16:], content)]))

    def contents(self) -> dict[str, bytes]:
        found = {}
        for file in (DATABASE, LOG):
            with open(os.path.join(own(self.data), file), "rb") as opened:
                found[file] = opened.read()
        return found

    def set_quota(self) -> None:
        with changing(own(self.data)) as transaction:
            transaction.set_quota("alice", 1000)

    def test_everything_refuses_it(self) -> None:
        before = self.contents()
        writer = Writer(CatalogueFolder(own(self.data)), time.time_ns)
        for call in (
            writer.open,
            self.set_quota,
            lambda: restored(self.data),
            lambda: repair(self.data, deep=True),
        ):
            error = self.assertRaises(StoreError, call)
            self.assertIn("catalogue.sqlite is older than", str(error))
            self.assertIn("blobman server restored", str(error))
            self.assertEqual(self.contents(), before)
        found = [it.text for it in check(self.data, deep=False)]
        self.assertIn(".blobman/catalogue.sqlite: catalogue.sqlite is older than", found[0])

    async def test_going_on_with_the_older_one(self) -> None:
        os.unlink(self.log)
        restored(self.data)
        backend = folder_backend(self.data)
        await backend.open()
        self.addCleanup(backend.close)
        self.assertEqual(await listed(backend, "alice", query()), ["first"])
        await backend.close()
        self.assertEqual(list(check(self.data, deep=True)), [])


def own(data: str) -> str:
    return os.path.join(data, ".blobman")


def run(writer: Writer, call: Callable[[Transaction], object]) -> None:
    works: list[Work[object]] = [Work(call)]
    writer.run(works)
    works[0].tell()
