"""Many blobs at once: as if they had come one by one, with the same errors."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import apsw
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from blobman.errors import BlobAlreadyExistsError, BlobError, IllegalStatusChange
from blobman.local import applying, batches, feed, listings, schema
from blobman.local.batches import Arrival, Entry
from blobman.local.connection import connect
from blobman.local.payload_rows import Payload
from blobman.local.records import take_back
from blobman.model import FIRST_CURSOR, BlobKey, ChangesPage, QueuedTransfer, SyncStatus
from blobman.sqlite import transaction

from .feed_contract import gone, there

S = SyncStatus
KEYS = st.builds(BlobKey, st.sampled_from(["", "n"]), st.sampled_from("abcdef"))
KNOWN = st.dictionaries(KEYS, st.sampled_from(S))


def payload(text: str) -> Payload:
    return Payload(len(text), b"preamble", False, text.encode())


def key(number: int) -> BlobKey:
    return BlobKey("", f"b{number}")


def snapshot(connection: apsw.Connection) -> Any:
    """Give all that is recorded, but for the numbers."""
    return connection.execute(
        "SELECT namespace, blob_id, status, priority, retries, content FROM blobs"
        " LEFT JOIN payloads ON payloads.id = payload ORDER BY blobs.id"
    ).fetchall()


class BatchesTestCase(SynchronousTestCase):
    def open(self) -> apsw.Connection:
        folder = Path(self.mktemp())
        folder.mkdir()
        connection = connect(
            str(folder / "db"), b"k" * 32, pragmas=("foreign_keys=ON", "synchronous=OFF")
        )
        self.addCleanup(connection.close)
        schema.upgrade(connection, "db")
        return connection

    def open_with(self, known: dict[BlobKey, SyncStatus]) -> apsw.Connection:
        connection = self.open()
        for each, status in known.items():
            (number,) = batches.add_new(connection, [Entry(each, payload("old"), S.LOCAL_ONLY, 2)])
            has_none = status in (S.PENDING_DOWNLOAD, S.FAILED_DOWNLOAD)
            connection.execute(
                "UPDATE blobs SET status = ?, payload = ? WHERE payload = ?",
                (status, None if has_none else number, number),
            )
        return connection

    def attempt(
        self, connection: apsw.Connection, work: Callable[[], Any]
    ) -> type[BlobError] | None:
        """Do it whole or not at all."""
        try:
            with transaction(connection):
                work()
        except BlobError as error:
            return type(error)
        return None

    def check(
        self,
        known: dict[BlobKey, SyncStatus],
        items: list[Any],
        work: Callable[[apsw.Connection, list[Any]], Any],
    ) -> None:
        """All at once they do what they do one by one, or one of them has the same error."""
        one, other = self.open_with(known), self.open_with(known)
        at_once = self.attempt(one, partial(work, one, items))
        errors = [self.attempt(other, partial(work, other, [it])) for it in items]
        self.assertIn(at_once, errors or [None])
        if not any(errors):
            self.assertEqual(snapshot(one), snapshot(other))
        else:
            self.assertIsNotNone(at_once)
            self.assertEqual(snapshot(one), snapshot(self.open_with(known)))


class EquivalenceTests(BatchesTestCase):
    @given(KNOWN, st.lists(KEYS, max_size=6))
    def test_adding(self, known: dict[BlobKey, SyncStatus], keys: list[BlobKey]) -> None:
        entries = [Entry(it, payload(f"{it}{n}"), S.PENDING_UPLOAD, 3) for n, it in enumerate(keys)]
        self.check(known, entries, batches.add_new)

    @given(KNOWN, st.lists(KEYS, max_size=6))
    def test_publishing(self, known: dict[BlobKey, SyncStatus], keys: list[BlobKey]) -> None:
        arrivals = [Arrival(it, payload(f"{it}{n}")) for n, it in enumerate(keys)]
        self.check(known, arrivals, batches.publish)

    @given(KNOWN, st.lists(KEYS, max_size=6, unique=True))
    def test_marking(self, known: dict[BlobKey, SyncStatus], keys: list[BlobKey]) -> None:
        self.check(known, keys, lambda where, of: batches.mark_uploaded(where, dict.fromkeys(of)))

    @given(KNOWN, st.lists(KEYS, max_size=6, unique=True), st.booleans())
    def test_looking_up(
        self, known: dict[BlobKey, SyncStatus], keys: list[BlobKey], hidden: bool
    ) -> None:
        connection = self.open_with(known)
        gone = {S.PENDING_DOWNLOAD, S.FAILED_DOWNLOAD, *([] if hidden else [S.PENDING_DELETE])}
        here = {it for it in keys if it in known and known[it] not in gone}
        found = batches.find_payloads(connection, keys, hidden)
        self.assertEqual(found, dict.fromkeys(here, payload("old")))
        pending = {it for it in keys if known.get(it) is S.PENDING_UPLOAD}
        self.assertEqual(set(batches.find_pending_uploads(connection, keys, 3)), pending)
        self.assertEqual(batches.find_pending_uploads(connection, keys, 2), {})


class ManyTests(BatchesTestCase):
    def test_every_number_of_them(self) -> None:
        """They are cut into parts; none is lost where, and the order is theirs."""
        connection = self.open()
        first = 0
        for count in (0, 1, 2, 63, 64, 65, 127, 200):
            keys = [key(number) for number in range(first, first + count)]
            first += count
            entries = [Entry(it, payload(it.blob_id), S.PENDING_UPLOAD, 2) for it in keys]
            numbers = batches.add_new(connection, entries)
            self.assertEqual(len(set(numbers)), count)
            self.assertTrue(batches.are_pending(connection, numbers))
            found = batches.find_payloads(connection, keys, False)
            self.assertEqual(
                {it: found[it].content for it in keys}, {it: it.blob_id.encode() for it in keys}
            )
        self.assertEqual([row[1] for row in snapshot(connection)], [f"b{n}" for n in range(first)])

    def test_large_contents(self) -> None:
        connection = self.open()
        entries = [
            Entry(key(n), Payload(900_000, b"", False, bytes([n]) * 900_000), S.LOCAL_ONLY, 2)
            for n in range(5)
        ]
        batches.add_new(connection, entries)
        found = batches.find_payloads(connection, [key(n) for n in range(5)], False)
        self.assertEqual(found, {entry.key: entry.payload for entry in entries})

    def test_numbers_are_never_used_again(self) -> None:
        connection = self.open()
        (first,) = batches.add_new(connection, [Entry(key(1), payload("x"), S.PENDING_UPLOAD, 2)])
        take_back(connection, first)
        self.assertEqual(snapshot(connection), [])
        (second,) = batches.add_new(connection, [Entry(key(1), payload("y"), S.PENDING_UPLOAD, 2)])
        self.assertGreater(second, first)
        self.assertFalse(batches.are_pending(connection, [first]))
        self.assertTrue(batches.are_pending(connection, [second]))

    def test_what_was_published_is_taken_back(self) -> None:
        connection = self.open_with({key(1): S.PENDING_DOWNLOAD})
        before = snapshot(connection)
        (number,) = batches.publish(connection, [Arrival(key(1), payload("x"))])
        assert number is not None
        self.assertNotEqual(snapshot(connection), before)
        take_back(connection, number)
        self.assertEqual(snapshot(connection), before)

    def test_the_error_names_the_blob(self) -> None:
        connection = self.open_with({key(7): S.SYNCED})
        entries = [Entry(key(n), payload("x"), S.LOCAL_ONLY, 2) for n in (6, 7, 8)]
        error = self.assertRaises(BlobAlreadyExistsError, batches.add_new, connection, entries)
        self.assertIn("'b7'", str(error))
        twice = [entries[0], entries[2], entries[0]]
        error = self.assertRaises(BlobAlreadyExistsError, batches.add_new, connection, twice)
        self.assertIn("'b6'", str(error))
        arrivals = [Arrival(key(9), payload("x"))]
        error = self.assertRaises(IllegalStatusChange, batches.publish, connection, arrivals)
        self.assertIn("'b9'", str(error))

    def test_each_is_looked_up_by_the_index(self) -> None:
        """However long the list of what waits is, and whatever SQLite thinks of it."""
        connection = self.open()
        plans: list[str] = []

        class Watched:
            def execute(self, query: str, values: Any = ()) -> Any:
                if " blobs" in query:
                    plan = connection.execute(f"EXPLAIN QUERY PLAN {query}", values).fetchall()
                    plans.extend(str(row[3]) for row in plan)
                return connection.execute(query, values)

            def executemany(self, query: str, rows: Any) -> None:
                for values in rows:
                    self.execute(query, values)

            def last_insert_rowid(self) -> int:
                return connection.last_insert_rowid()

            def changes(self) -> int:
                return connection.changes()

        watched: Any = Watched()
        keys = [key(n) for n in range(3)]
        entries = [Entry(it, payload("x"), S.PENDING_UPLOAD, 2) for it in keys]
        numbers = batches.add_new(watched, entries)
        batches.are_pending(watched, numbers)
        batches.find_pending_uploads(watched, keys, 9)
        batches.find_payloads(watched, keys, True)
        batches.mark_uploaded(watched, dict.fromkeys(keys))
        connection.execute("UPDATE blobs SET status = 3, payload = NULL")
        batches.publish(watched, [Arrival(it, payload("x")) for it in keys])
        page = ChangesPage([there("b0", "one"), there("b9"), gone("b1")], "cursor", False)
        applying.apply_page(watched, "", page, FIRST_CURSOR)
        listings.next_outdated(watched, "", 9, QueuedTransfer("a", 2, 1))
        feed.list_untold(watched, "")
        self.assertTrue(any("SEARCH blobs" in step for step in plans))
        for step in plans:
            self.assertNotIn("SCAN blobs", step)
            self.assertNotIn("blobs_waiting", step)
