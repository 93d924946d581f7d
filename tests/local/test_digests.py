"""What is read is compared with what was stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from blobman.errors import StoreError
from blobman.local import schema
from blobman.local.connection import connect, derive_key
from blobman.local.digests import Digests, digest_content, is_intact
from blobman.local.payload_writer import PayloadWriter
from blobman.model import SyncStatus
from blobman.sqlite import pragma

from .contract import MIB, content
from .test_faults import KEY, DiskTestCase, put, read


class DigestTests(SynchronousTestCase):
    @given(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=5), st.data())
    def test_a_change_is_seen(self, chunks: list[bytes], data: st.DataObject) -> None:
        digests = Digests()
        for chunk in chunks:
            digests.add(chunk)
        encoded = digests.encode()
        for number, chunk in enumerate(chunks):
            self.assertTrue(is_intact(encoded, number, chunk))
        number = data.draw(st.integers(0, len(chunks) - 1))
        other = data.draw(st.binary(max_size=40).filter(lambda it: it != chunks[number]))
        self.assertFalse(is_intact(encoded, number, other))

    def test_a_place_is_part_of_it(self) -> None:
        digests = Digests()
        digests.add(b"same")
        digests.add(b"same")
        one, other = digests.encode()[32:48], digests.encode()[48:]
        self.assertNotEqual(one, other)
        self.assertFalse(is_intact(digests.encode(), 2, b"same"))

    def test_each_payload_has_a_key_of_its_own(self) -> None:
        self.assertNotEqual(digest_content(b"same"), digest_content(b"same"))

    def test_any_buffer(self) -> None:
        encoded = digest_content(bytearray(b"some bytes"))
        self.assertTrue(is_intact(encoded, 0, memoryview(b"some bytes")))


class ReadTests(DiskTestCase):
    """An intruder, or an old page, brings other bytes under the store's own cipher."""

    def change(self, statement: str, *values: Any) -> None:
        connection = connect(str(self.path), derive_key(KEY))
        connection.execute(statement, values)
        connection.close()

    async def check_damaged(self, blob_id: str) -> None:
        store = self.open()
        with self.assertRaises(StoreError) as caught:
            await read(store, blob_id)
        self.assertIn(f"blob '{blob_id}' is damaged", str(caught.exception))
        payload = await store.open_payload(blob_id)
        assert payload is not None
        with self.assertRaises(StoreError):
            payload.read_now()
            await payload.read_chunk(1)
        await store.close()

    async def test_another_content(self) -> None:
        await self.fill()
        self.change("UPDATE payloads SET content = ? WHERE size = 50000", content(50_000, "other"))
        await self.check_damaged("small")

    async def test_another_content_that_waits_for_its_upload(self) -> None:
        await self.fill()
        self.change("UPDATE payloads SET content = ? WHERE size = 50000", content(50_000, "other"))
        store = self.open()
        found = await store.open_pending_uploads(["small"], "", MIB)
        self.assertRaises(StoreError, found["small"].read_now)
        await store.close()

    async def test_contents_of_one_length_exchanged(self) -> None:
        store = self.open()
        await put(store, "one", b"one!")
        await put(store, "two", b"two!")
        await store.close()
        self.change("UPDATE payloads SET content = CASE content WHEN ? THEN ? ELSE ? END",
                    b"one!", b"two!", b"one!")  # fmt: skip
        await self.check_damaged("one")
        await self.check_damaged("two")

    async def test_chunks_of_a_file_exchanged(self) -> None:
        await self.fill()
        connection = connect(str(self.path), derive_key(KEY))
        rows = connection.execute("SELECT file, file_key FROM payloads WHERE file > ''").fetchall()
        connection.close()
        ((name, key),) = rows
        assert isinstance(key, bytes)
        file = connect(str(self.path.with_suffix(".payloads") / str(name)), key)
        file.execute("UPDATE chunks SET number = 9 WHERE number = 1")
        file.execute("UPDATE chunks SET number = 1 WHERE number = 2")
        file.execute("UPDATE chunks SET number = 2 WHERE number = 9")
        file.close()
        await self.check_damaged("large")

    async def test_what_a_version_without_digests_stored(self) -> None:
        """It is upgraded in place, and readable; what comes now has digests."""
        self.folder.mkdir()
        writer = PayloadWriter(self.path.with_suffix(".payloads"))
        writer.append([content(MIB), b"end"])
        writer.finish()
        make_first_version(self.path, writer)
        store = self.open()
        self.assertEqual(await store.list(), ["small", "large"])
        self.assertEqual(await read(store, "small"), b"small one")
        self.assertTrue(await read(store, "large") == content(MIB) + b"end")
        await put(store, "new", b"data")
        await store.update_sync_status("large", SyncStatus.SYNCED)
        self.assertTrue(await store.delete("large"))
        self.assertEqual(self.payload_files(), [])
        await store.close()
        self.change("UPDATE payloads SET content = ? WHERE size = 4", b"tada")
        await self.check_damaged("new")


def make_first_version(path: Path, writer: PayloadWriter) -> None:
    """Make a store as the first version of the schema had it, with a small and a large blob."""
    connection: apsw.Connection = connect(str(path), derive_key(KEY))
    pragma(connection, "journal_mode=WAL")
    for statement in schema.UPGRADES[0].statements:
        connection.execute(statement)
    pragma(connection, "user_version=1")
    insert = (
        "INSERT INTO payloads (size, preamble, external, file, file_key, content)"
        " VALUES (?, x'', 0, ?, ?, ?)"
    )
    connection.execute(insert, (9, None, None, b"small one"))
    connection.execute(insert, (MIB + 3, *writer.file, None))
    for number, blob_id in enumerate(["small", "large"], 1):
        connection.execute(
            "INSERT INTO blobs (namespace, blob_id, status, priority, payload)"
            " VALUES ('', ?, 2, 2, ?)",
            (blob_id, number),
        )
    connection.close()
