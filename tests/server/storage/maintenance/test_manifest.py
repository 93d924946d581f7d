"""What a backup says of itself, and what may be there instead."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from blobman.errors import StoreError
from blobman.server.storage.interface import DamagedError
from blobman.server.storage.maintenance.manifest import Manifest, read_manifest, write_manifest

from .folders import change_file

MANIFEST = Manifest(1_790_000_000, 12, 10, 123_456, 3, "ab" * 32)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


class ManifestTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = self.mktemp()

    def test_what_is_written_is_read(self) -> None:
        write_manifest(self.path, MANIFEST)
        self.assertEqual(read_manifest(self.path), MANIFEST)

    def test_none(self) -> None:
        self.assertRaises(FileNotFoundError, read_manifest, self.path)

    def test_a_later_version(self) -> None:
        self.write(json.dumps({"format": 2, "whatever": 1}).encode())
        error = self.assertRaises(StoreError, read_manifest, self.path)
        self.assertIn("later version", str(error))

    def write(self, data: bytes) -> None:
        with open(self.path, "wb") as file:
            file.write(data)

    @given(st.binary() | json_values.map(lambda it: json.dumps(it).encode()))
    def test_garbage(self, data: bytes) -> None:
        self.write(data)
        self.assertRaises(DamagedError, read_manifest, self.path)

    @given(st.sampled_from(sorted(asdict(MANIFEST))), json_values)
    def test_another_value(self, name: str, value: object) -> None:
        self.write(json.dumps({"format": 1, **asdict(MANIFEST), name: value}).encode())
        try:
            self.assertIs(type(getattr(read_manifest(self.path), name)), type(value))
        except DamagedError:
            self.assertIsNot(type(value), type(getattr(MANIFEST, name)))

    def test_a_byte_that_is_changed(self) -> None:
        write_manifest(self.path, MANIFEST)
        for at in range(os.path.getsize(self.path)):
            change_file(self.path, at)
            with contextlib.suppress(StoreError):
                self.assertIsInstance(read_manifest(self.path), Manifest)
            change_file(self.path, at)
