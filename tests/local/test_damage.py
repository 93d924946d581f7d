"""
Files that were cut, and bits that were turned: the right bytes, or StoreError.

What is damaged, and where, is drawn from a seed, so that two runs do the same.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from blobman.errors import StoreError
from blobman.local import BlobStore

from .child import run
from .contract import MIB, content
from .pump import Pump
from .test_faults import KEY

SIZES = {"tiny": 5, "small": 3000, "pages": 70_000, "more": 70_001, "large": MIB + 4000}
PAGE = 16384

Damage = Callable[[Path], str]
"""Damages a file, and says how."""


def cut(length: int, path: Path) -> str:
    """Cut a file."""
    os.truncate(path, length)
    return f"cut to {length} bytes"


class DamageTestCase(SynchronousTestCase):
    """A store that is damaged again and again, each time in a copy of its own."""

    def setUp(self) -> None:
        self.pump = Pump()
        self.sound = Path(self.mktemp()).absolute()
        self.copy = Path(self.mktemp()).absolute()
        self.chance = random.Random(self.id())

    def fill(self, crash: bool) -> None:
        """Store some blobs in a process that ends as it should, or is killed."""
        lines = f"""
            for blob_id, size in {SIZES}.items():
                await put(blob_id, size)
            if {crash}:
                os.kill(os.getpid(), 9)
        """
        run(self.sound, lines)
        names = {path.suffix for path in self.sound.iterdir()}
        self.assertEqual(".db-wal" in names, crash)

    def files(self) -> list[Path]:
        """Everything that there is, as paths in the folder."""
        found = [path for path in self.sound.rglob("*") if path.is_file()]
        return sorted(path.relative_to(self.sound) for path in found)

    def check(self, file: Path, damage: Damage) -> bool:
        """
        Damage a file of a copy, and read it all.

        :return: whether that was noticed.
        """
        shutil.copytree(self.sound, self.copy)
        what = damage(self.copy / file)
        store = BlobStore(self.copy, "user", KEY, reactor=cast(Any, self.pump))
        try:
            noticed = [self.is_noticed(store, blob_id, size) for blob_id, size in SIZES.items()]
            try:
                there = self.pump.wait(store.list())
            except StoreError:
                noticed.append(True)
            else:
                self.assertEqual(set(there), set(SIZES))
        except Exception as error:
            raise self.failureException(f"{file}: {what}: {error!r}") from error
        finally:
            self.pump.wait(store.close())
        payloads = [path for path in self.copy.rglob("*") if len(path.name) == 32]
        self.assertEqual(len(payloads), 1, f"{file}: {what}: a payload file was removed")
        shutil.rmtree(self.copy)
        return any(noticed)

    def is_noticed(self, store: BlobStore, blob_id: str, size: int) -> bool:
        """Read a blob as a caller does, and as an upload does."""
        try:
            file = self.pump.wait(store.get(blob_id))
            assert file is not None, f"{blob_id} is gone"
            assert file.read() == content(size), f"wrong bytes of {blob_id}"
            payload = self.pump.wait(store.open_payload(blob_id))
            assert payload is not None, f"{blob_id} is gone"
            chunks = [self.pump.wait(payload.read_chunk(n)) for n in range(payload.chunk_count)]
            assert b"".join(chunks) == content(size), f"wrong bytes of {blob_id} to be sent"
        except StoreError:
            return True
        return False

    # What is cut off

    def lengths(self, size: int, count: int) -> Iterator[int]:
        """Give lengths of all kinds that are less than a file's."""
        edges = [1, 2, 100, 4096, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE, 5 * PAGE + 7, size - 1, size]
        edges += [size - 16, size - 24, size - 32, size - 100, size - 512, size - 4096, size - PAGE]
        edges = [size - edge for edge in dict.fromkeys(edges) if 0 < edge <= size]
        yield from edges[:count]
        for _ in range(count - len(edges)):
            yield self.chance.randrange(size)

    def cut_all(self, count: int) -> None:
        noticed = 0
        for file in self.files():
            size = (self.sound / file).stat().st_size
            for length in self.lengths(size, count):
                noticed += self.check(file, partial(cut, length))
        self.assertGreater(noticed, count)

    # What is turned or zeroed

    def spoil(self, path: Path) -> str:
        """Turn a bit, or zero a page or a part of one, where anything is."""
        raw = bytearray(path.read_bytes())
        start = self.chance.randrange(len(raw))
        kind = self.chance.randrange(4)
        if kind < 2:
            raw[start] ^= 1 << self.chance.randrange(8)
        else:
            length = (4096, PAGE)[kind - 2]
            start -= start % length
            raw[start : start + length] = bytes(len(raw[start : start + length]))
        path.write_bytes(raw)
        return f"{('a bit', 'a bit', 'a block', 'a page')[kind]} at {start} of {len(raw)}"

    def spoil_all(self, count: int) -> None:
        files, noticed = self.files(), 0
        for number in range(count):
            noticed += self.check(files[number % len(files)], self.spoil)
        self.assertGreater(noticed, count // 5)


class CutTests(DamageTestCase):
    def test_closed(self) -> None:
        self.fill(crash=False)
        self.cut_all(30)

    def test_crashed(self) -> None:
        self.fill(crash=True)
        self.cut_all(30)


class SpoilTests(DamageTestCase):
    def test_closed(self) -> None:
        self.fill(crash=False)
        self.spoil_all(500)

    def test_crashed(self) -> None:
        self.fill(crash=True)
        self.spoil_all(500)
