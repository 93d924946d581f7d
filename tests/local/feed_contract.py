"""What every store does with what the server tells of its changes."""

from __future__ import annotations

import io
from collections.abc import Iterable

from twisted.internet.defer import Deferred, DeferredList

from blobman.errors import InvalidBlob, ReplacedMeanwhile
from blobman.model import FIRST_CURSOR, ChangesPage, Flags, Priority, RemoteChange, SyncStatus
from blobman.reconciliation import (
    RECONCILIATION,
    Action,
    AppliedChanges,
    EndedComparison,
    FeedState,
    Reconciliation,
    Told,
)

from .contract import StoreTestCase

S = SyncStatus
UNAVAILABLE = (S.PENDING_DOWNLOAD, S.FAILED_DOWNLOAD)


def tag(name: str) -> bytes:
    """A tag that no other name gives."""
    return name.encode().ljust(16, b".")


def there(blob_id: str, name: str = "one", *flags: Flags) -> RemoteChange:
    """Say that the server has a blob."""
    return RemoteChange(blob_id, tag(name), 757, 1_790_000_000, flags)


def gone(blob_id: str) -> RemoteChange:
    """Say that the server has deleted a blob."""
    return RemoteChange(blob_id)


class FeedContract(StoreTestCase):
    """Tests for any store."""

    async def apply(
        self, *changes: RemoteChange, namespace: str = "", since: str | None = None
    ) -> AppliedChanges:
        """Apply a page, at the cursor that the store has come to."""
        if since is None:
            since = (await self.store.get_feed(namespace)).cursor
        self.pages = getattr(self, "pages", 0) + 1
        page = ChangesPage(list(changes), f"cursor.{self.pages}", more=False)
        applied: AppliedChanges = await self.store.apply_changes(page, since, namespace)
        return applied

    async def end(
        self, deleted: Iterable[str] = (), now: float = 1e9, namespace: str = ""
    ) -> EndedComparison:
        """End a full comparison, at the cursor that the store has come to."""
        since = (await self.store.get_feed(namespace)).cursor
        ended: EndedComparison = await self.store.end_comparison(
            since, frozenset(deleted), now, namespace
        )
        return ended

    async def outdated(self, namespace: str = "") -> list[str]:
        return [it.blob_id for it in await self.store.next_outdated(namespace, 100)]

    # Cursors

    async def test_nothing_has_been_followed(self) -> None:
        self.assertEqual(await self.store.get_feed(), FeedState(FIRST_CURSOR, True, None))
        self.assertEqual(await self.store.get_feed("mail"), FeedState(FIRST_CURSOR, True, None))

    async def test_a_page_moves_the_cursor_of_its_namespace(self) -> None:
        await self.apply(there("a"))
        self.assertEqual((await self.store.get_feed()).cursor, "cursor.1")
        self.assertEqual((await self.store.get_feed("mail")).cursor, FIRST_CURSOR)
        await self.apply(there("a"), namespace="mail")
        self.assertEqual(await self.status("a", "mail"), S.PENDING_DOWNLOAD)
        self.assertEqual((await self.store.get_feed("mail")).cursor, "cursor.2")

    async def test_a_page_that_comes_too_late_is_not_applied(self) -> None:
        await self.apply(there("a"))
        await self.apply(there("b"))
        applied = await self.apply(gone("a"), there("c"), since="cursor.1")
        self.assertEqual(applied, AppliedChanges.nothing(is_current=False))
        self.assertEqual((await self.store.get_feed()).cursor, "cursor.2")
        self.assertEqual(await self.store.list_status(S.PENDING_DOWNLOAD), ["a", "b"])

    async def test_a_page_that_can_not_be_applied_changes_nothing(self) -> None:
        for wrong in ("default", "no name"):
            page = ChangesPage([there("a")], "cursor", more=False)
            await self.fails(ValueError, self.store.apply_changes(page, FIRST_CURSOR, wrong))
            await self.fails(ValueError, self.store.begin_comparison(wrong))
            await self.fails(ValueError, self.store.get_feed(wrong))

    # The table

    async def prepare(self, row: Reconciliation) -> RemoteChange:
        """Bring a blob to where a row begins, and give the change that the row is about."""
        if row.before is not None:
            if row.told in (Told.SAME, Told.OTHER) and row.before in UNAVAILABLE:
                await self.apply(there("a"))
                await self.store.update_sync_status("a", row.before)
            elif row.told in (Told.SAME, Told.OTHER) and row.before is not S.LOCAL_ONLY:
                await self.bring_to(S.SYNCED)
                await self.store.record_tag("a", tag("one"))
                if row.before is S.FAILED_UPLOAD:
                    await self.store.update_sync_status("a", S.PENDING_UPLOAD)
                await self.store.update_sync_status("a", row.before)
            else:
                await self.bring_to(row.before)
            await self.store.increment_retries("a")
        if row.told is Told.DELETED_BEFORE:
            await self.store.note_older_tombstone("a")
        if row.told in (Told.DELETED, Told.DELETED_BEFORE):
            return gone("a")
        return there("a", "other" if row.told is Told.OTHER else "one")

    async def test_every_row(self) -> None:
        for row in RECONCILIATION:
            self.store = self.make_store()
            applied = await self.apply(await self.prepare(row))
            with self.subTest(row=row):
                await self.check(row, applied)
            await self.store.close()

    async def check(self, row: Reconciliation, applied: AppliedChanges) -> None:
        record = await self.store.get_sync_status("a")
        before = None if row.before is None else (row.before, 1)
        after = {
            Action.FETCH: (S.PENDING_DOWNLOAD, 0),
            Action.SETTLE: (S.SYNCED, 0),
            **dict.fromkeys((Action.REMOVE, Action.FORGET, Action.COMPLETE)),
        }
        self.assertEqual(record, after.get(row.action, before))
        copy = await self.store.open_payload("a")
        had_copy = row.before is not None and row.before not in UNAVAILABLE
        self.assertEqual(copy is not None, had_copy and record is not None)
        is_synced = row.before is S.SYNCED
        compares = row.action is Action.COMPARE
        self.assertEqual(
            applied,
            AppliedChanges(
                is_current=True,
                fetch=["a"] if row.action is Action.FETCH else [],
                # It is a full comparison that is under way: its end tells of what is not known.
                outdated=["a"] if row.action is Action.REPLACE else [],
                unsettled=["a"] if compares and not is_synced else [],
                deleted=["a"] if row.action is Action.REMOVE else [],
                flags=[],
            ),
        )
        listed = row.action in (Action.REPLACE, Action.COMPARE) and is_synced
        self.assertEqual(await self.outdated(), ["a"] if listed else [])

    async def test_many_at_once(self) -> None:
        await self.apply(*[there(f"{n}") for n in range(300)])
        applied = await self.apply(
            *[there(f"{n}", "other") for n in range(100)],
            *[gone(f"{n}") for n in range(100, 200)],
            *[there(f"{n}") for n in range(200, 400)],
        )
        fetched = [*range(300, 400), *range(100)]
        self.assertEqual(sorted(applied.fetch), sorted(map(str, fetched)))
        self.assertEqual(await self.store.get_sync_progress(), {"PENDING_DOWNLOAD": 300})

    async def test_a_large_copy_goes_with_its_file(self) -> None:
        await self.put(data=bytes(2_000_000))
        await self.store.update_sync_status("a", S.SYNCED)
        self.assertEqual((await self.apply(gone("a"))).deleted, ["a"])
        self.assertIsNone(await self.read())

    async def test_a_deletion_that_is_told_is_known(self) -> None:
        """What comes later under the id is another blob than the one that was deleted."""
        await self.apply(gone("a"))
        await self.bring_to(S.SYNCED)
        self.assertEqual(await self.store.apply_tombstones({"a"}, set()), [])

    async def test_a_copy_that_a_restored_server_does_not_know(self) -> None:
        """It was put after a deletion that is told again, and only here has it been seen since."""
        await self.apply(gone("a"))
        await self.bring_to(S.SYNCED)
        self.assertEqual((await self.apply(gone("a"))).deleted, [])
        self.assertEqual(await self.status("a"), S.SYNCED)
        # Once the server has told of it, it can be deleted there.
        await self.store.record_tag("a", tag("one"))
        await self.apply(there("a"))
        self.assertEqual((await self.apply(gone("a"))).deleted, ["a"])

    async def test_a_deletion_of_what_never_was(self) -> None:
        """It leaves no tombstone, by which a later one could be taken for known."""
        await self.store.update_sync_status("a", S.PENDING_DELETE)
        await self.store.delete("a")
        await self.put("a")
        await self.store.mark_uploaded({"a": tag("one")}, "")
        self.assertEqual((await self.apply(gone("a"))).deleted, ["a"])

    async def test_a_deletion_of_what_is_told_for_the_first_time(self) -> None:
        await self.put()
        await self.store.mark_uploaded({"a": tag("one")}, "")
        await self.store.update_sync_status("a", S.PENDING_DELETE)
        await self.apply(there("a"))
        self.assertTrue(await self.store.delete("a"))
        self.assertIsNone(await self.store.get_sync_status("a"))

    # Flags

    async def test_flags(self) -> None:
        await self.bring_to(S.SYNCED)
        await self.store.record_tag("a", tag("one"))
        pending = there("a", "one", Flags.PENDING)
        for change, told in (
            (there("a"), []),
            (pending, [("a", (Flags.PENDING,))]),
            (pending, []),
            (there("a", "one", Flags.PENDING, Flags.FAILED), [("a", ("PENDING", "FAILED"))]),
            (there("a"), [("a", ())]),
        ):
            self.assertEqual((await self.apply(change)).flags, told)
            self.assertEqual(await self.store.get_flags("a"), change.flags)

    async def test_flags_of_what_is_not_here(self) -> None:
        await self.apply(there("a"))
        self.assertEqual((await self.apply(there("a", "one", Flags.PENDING))).flags, [])
        self.assertEqual(await self.store.get_flags("a"), (Flags.PENDING,))
        self.assertEqual(await self.store.get_flags("a", "mail"), ())
        self.assertEqual(await self.store.get_flags("b"), ())

    # Full comparisons

    async def test_what_has_been_seen_stays(self) -> None:
        for blob_id in "ab":
            await self.bring_to(S.SYNCED, blob_id)
        await self.apply(there("a"), there("c"))
        await self.apply(there("b"))
        self.assertEqual(await self.end(["c", "x"]), EndedComparison(True, [], 0))
        self.assertEqual(await self.store.get_feed(), FeedState("cursor.2", False, 1e9))
        self.assertEqual(await self.store.list_status(S.SYNCED), ["a", "b"])
        self.assertEqual(await self.store.list_status(S.PENDING_DOWNLOAD), ["c"])

    async def test_what_has_not_been_seen(self) -> None:
        """It is settled as what a full list does not have."""
        other = self.make_store()
        for blob_id, status in zip("abcdefgh", (S.SYNCED, *S), strict=True):
            await self.bring_to(status, blob_id)
        ended = await self._end_with_nothing(["a"])
        found = {blob_id: await self.status(blob_id) for blob_id in "abcdefgh"}
        self.assertEqual(ended, EndedComparison(True, ["a"], 1))
        self.store = other
        for blob_id, status in zip("abcdefgh", (S.SYNCED, *S), strict=True):
            await self.bring_to(status, blob_id)
        await other.apply_tombstones({"a"}, set())
        await other.apply_remote_list(set(), "", {"a"})
        listed = {blob_id: await self.status(blob_id) for blob_id in "abcdefgh"}
        self.assertEqual(found, listed)

    async def _end_with_nothing(self, deleted: Iterable[str]) -> EndedComparison:
        await self.apply()
        return await self.end(deleted)

    async def test_another_comparison(self) -> None:
        await self.bring_to(S.SYNCED)
        await self.apply(there("a"))
        await self.end()
        await self.store.begin_comparison()
        self.assertEqual(await self.store.get_feed(), FeedState(FIRST_CURSOR, True, 1e9))
        self.assertEqual(await self._end_with_nothing([]), EndedComparison(True, [], 1))
        self.assertEqual(await self.status(), S.PENDING_UPLOAD)

    async def test_a_comparison_that_has_not_come_to_its_end(self) -> None:
        await self.bring_to(S.SYNCED)
        nothing = EndedComparison(False, [], 0)
        # Nothing has been read.
        self.assertEqual(await self.end(), nothing)
        await self.apply()
        await self.apply()
        self.assertEqual(await self.store.end_comparison("cursor.1", frozenset(), 1.0), nothing)
        self.assertEqual(await self.status(), S.SYNCED)
        await self.end()
        # It has ended.
        self.assertEqual(await self.end(), nothing)

    async def test_tombstones_are_needed_for_what_has_not_been_seen(self) -> None:
        self.assertFalse(await self.store.has_unseen())
        await self.bring_to(S.PENDING_UPLOAD, "b")
        await self.apply()
        self.assertFalse(await self.store.has_unseen())
        await self.bring_to(S.SYNCED)
        self.assertTrue(await self.store.has_unseen())
        await self.store.record_tag("a", tag("one"))
        await self.apply(there("a"))
        self.assertFalse(await self.store.has_unseen())
        self.assertFalse(await self.store.has_unseen("mail"))

    async def test_what_an_earlier_version_has_synchronized(self) -> None:
        """Its tag is not known: it is the server's, unless the id has been used before."""
        for blob_id in "ab":
            await self.bring_to(S.SYNCED, blob_id)
        await self.apply(there("a"), there("b"))
        self.assertTrue(await self.store.has_unseen())
        await self.end(["b"])
        self.assertEqual(await self.outdated(), ["b"])
        await self.store.record_tag("b", tag("one"))
        self.assertEqual(await self.outdated(), [])
        self.assertEqual((await self.apply(there("a"))).outdated, [])
        self.assertEqual((await self.apply(there("a", "two"))).outdated, ["a"])

    async def test_a_tombstone_of_what_is_not_here(self) -> None:
        """It is older than what will come under its id."""
        await self._end_with_nothing(["a"])
        await self.bring_to(S.SYNCED)
        self.assertEqual(await self.store.apply_tombstones({"a"}, set()), [])

    async def test_the_end_of_a_large_comparison(self) -> None:
        ids = [f"b{n:04}" for n in range(4500)]
        await self.apply(*[there(it) for it in ids])
        await self.store.begin_comparison()
        await self.apply(*[there(it) for it in ids[::3]])
        dead = [f"b{n:04}x" for n in range(4500)]
        self.assertEqual(await self.end([*dead, *ids]), EndedComparison(True, [], 0))
        self.assertEqual(await self.store.list_status(S.PENDING_DOWNLOAD), ids[::3])

    async def test_what_is_transferred_meanwhile_has_been_seen(self) -> None:
        for blob_id in "ab":
            await self.put(blob_id)
        await self.store.update_sync_status("c", S.PENDING_DOWNLOAD)
        await self.store.mark_uploaded({"b": tag("one")}, "")
        await self.apply()
        await self.store.mark_uploaded({"a": tag("one")}, "")
        await self.store.stage("c").publish(b"", tag=tag("one"))
        self.assertEqual(await self.end(), EndedComparison(True, [], 1))
        self.assertEqual(await self.store.list_status(S.PENDING_UPLOAD), ["b"])

    # Tags

    async def publish(
        self, blob_id: str, name: str, size: int = 757, replace: bool = False, data: bytes = b"x"
    ) -> None:
        staged = self.store.stage(blob_id, replace=replace)
        staged.write(data)
        await staged.publish(b"preamble", False, tag(name) if name else None, size)

    async def test_what_is_uploaded_has_its_tag(self) -> None:
        await self.put("a")
        await self.put("b")
        await self.store.mark_uploaded({"a": tag("one"), "b": None}, "")
        await self._end_with_nothing([])
        for blob_id in "ab":
            await self.store.update_sync_status(blob_id, S.SYNCED)
        self.assertEqual((await self.apply(there("a"), there("b"))).outdated, ["b"])
        self.assertEqual((await self.apply(there("a", "two"))).outdated, ["a"])

    async def test_what_is_uploaded_is_newer_than_what_was_told(self) -> None:
        await self.bring_to(S.PENDING_DELETE)
        await self.apply(there("a", "two"))
        await self.store.update_sync_status("a", S.PENDING_UPLOAD)
        await self.store.mark_uploaded({"a": tag("one")}, "")
        self.assertEqual(await self.outdated(), [])

    async def test_what_is_downloaded_has_its_tag(self) -> None:
        for blob_id in "ab":
            await self.store.update_sync_status(blob_id, S.PENDING_DOWNLOAD)
            await self.publish(blob_id, "one", data=bytes(10 if blob_id == "a" else 2_000_000))
        await self._end_with_nothing(["a", "b"])
        for blob_id in "cd":
            await self.store.update_sync_status(blob_id, S.PENDING_DOWNLOAD)
            await self.publish(blob_id, "one", data=bytes(10 if blob_id == "c" else 2_000_000))
        self.assertEqual((await self.apply(there("c"), there("d"))).outdated, [])
        changes = there("c", "two"), there("d", "two")
        self.assertEqual((await self.apply(*changes)).outdated, ["c", "d"])

    async def test_what_was_downloaded_can_be_deleted(self) -> None:
        """Also if its id had been used before, and it was fetched before it was told of."""
        await self.apply(gone("a"))
        await self.store.update_sync_status("a", S.PENDING_DOWNLOAD)
        await self.publish("a", "one")
        self.assertEqual((await self.apply(gone("a"))).deleted, ["a"])

    async def test_what_arrives_is_what_was_told(self) -> None:
        for size in (10, 2_000_000):
            blob_id, data = f"b{size}", bytes(size)
            await self.apply(there(blob_id))
            for name, sealed_size in (("two", 757), ("one", 756), ("", 757)):
                with self.assertRaises(InvalidBlob) as caught:
                    await self.publish(blob_id, name, sealed_size, data=data)
                self.assertNotIsInstance(caught.exception, ReplacedMeanwhile)
                self.assertIn(blob_id, str(caught.exception))
                self.assertEqual(await self.status(blob_id), S.PENDING_DOWNLOAD)
            await self.publish(blob_id, "one", data=data)
            self.assertEqual(await self.status(blob_id), S.SYNCED)

    async def test_one_of_many_that_is_not_what_was_told(self) -> None:
        await self.apply(there("a"), there("b"), there("c"))
        outcomes = [self.publish(blob_id, "two" if blob_id == "b" else "one") for blob_id in "abc"]
        work = [Deferred.fromCoroutine(it) for it in outcomes]
        found = await DeferredList(work, consumeErrors=True)
        self.assertEqual([done for done, _ in found], [True, False, True])
        self.assertEqual(await self.store.list_status(S.PENDING_DOWNLOAD), ["b"])

    async def test_what_was_replaced_while_it_was_coming(self) -> None:
        await self.apply(there("a"))
        await self.apply(there("a", "two"))
        with self.assertRaises(ReplacedMeanwhile):
            await self.publish("a", "one")
        self.assertEqual(await self.store.get_sync_status("a"), (S.PENDING_DOWNLOAD, 0))
        await self.publish("a", "two")
        self.assertEqual(await self.outdated(), [])

    async def test_what_is_outdated_is_kept_until_the_new_one_is_there(self) -> None:
        for size in (10, 2_000_000):
            blob_id, old, new = f"b{size}", b"1" * size, b"2" * size
            await self.put(blob_id, old)
            await self.store.mark_uploaded({blob_id: tag("one")}, "")
            self.assertEqual((await self.apply(there(blob_id, "two"))).outdated, [blob_id])
            for name in ("one", "three"):
                with self.assertRaises(InvalidBlob):
                    await self.publish(blob_id, name, replace=True, data=new)
                self.assertTrue(await self.read(blob_id) == old)
                self.assertEqual(await self.outdated(), [blob_id])
            await self.publish(blob_id, "two", replace=True, data=new)
            self.assertTrue(await self.read(blob_id) == new)
            self.assertEqual(await self.outdated(), [])

    async def test_the_most_urgent_of_what_is_outdated(self) -> None:
        for blob_id in "abcd":
            await self.put(blob_id, priority=Priority.LOW if blob_id == "a" else Priority.HIGH)
        await self.store.mark_uploaded(dict.fromkeys("abcd", tag("one")), "")
        await self.apply(*[there(blob_id, "two") for blob_id in "abd"])
        first = await self.store.next_outdated("", 2)
        self.assertEqual([it.blob_id for it in first], ["b", "d"])
        rest = await self.store.next_outdated("", 2, first[-1])
        self.assertEqual([it.blob_id for it in rest], ["a"])
        self.assertEqual(await self.store.next_outdated("mail", 2), [])

    async def test_what_waits_is_found_by_its_statuses(self) -> None:
        """So nobody has to ask for each of them, and get empty lists."""
        self.assertEqual(await self.waiting(), frozenset())
        for blob_id in "abcd":
            await self.put(blob_id)
        await self.store.put("l", io.BytesIO(b"data"), 4, status=S.LOCAL_ONLY)
        await self.store.mark_uploaded(dict.fromkeys("abc", tag("one")), "")
        self.assertEqual(await self.waiting(), {S.PENDING_UPLOAD})
        await self.store.mark_uploaded({"d": tag("one")}, "")
        self.assertEqual(await self.waiting(), frozenset())
        await self.apply(there("a"), there("b", "two"))
        self.assertEqual(await self.waiting(), {S.SYNCED})
        await self.store.update_sync_status("c", S.PENDING_DELETE)
        await self.store.update_sync_status("e", S.PENDING_DOWNLOAD, "mail")
        self.assertEqual(await self.waiting(), {S.SYNCED, S.PENDING_DELETE})
        self.assertEqual(await self.waiting("mail"), {S.PENDING_DOWNLOAD})
        await self.store.update_sync_status("e", S.FAILED_DOWNLOAD, "mail")
        self.assertEqual(await self.waiting("mail"), {S.FAILED_DOWNLOAD})

    async def waiting(self, namespace: str = "") -> frozenset[SyncStatus]:
        """Find out what waits, and that it comes with the place in the feed."""
        found = await self.store.find_waiting(namespace)
        self.assertEqual(found.feed, await self.store.get_feed(namespace))
        statuses: frozenset[SyncStatus] = found.statuses
        return statuses

    async def test_what_was_told_is_not_forgotten(self) -> None:
        """What the server does not give now, it may have told of a moment ago."""
        await self.apply(there("a"))
        await self.store.update_sync_status("b", S.PENDING_DOWNLOAD)
        for blob_id in "ab":
            await self.store.forget(blob_id)
        self.assertEqual(await self.store.list_status(S.PENDING_DOWNLOAD), ["a"])
        await self.apply(gone("a"))
        self.assertIsNone(await self.status("a"))

    async def test_a_list_says_nothing_of_what_arrives(self) -> None:
        """The server has become an old one, and the id has been used again since it told of it."""
        for size in (10, 2_000_000):
            blob_id = f"b{size}"
            await self.apply(there(blob_id))
            await self.store.apply_remote_list({blob_id})
            await self.publish(blob_id, "two", 900, data=bytes(size))
            self.assertEqual(await self.status(blob_id), S.SYNCED)
            # What was told is what has come: once changes are told again, they go on from there.
            self.assertEqual(await self.outdated(), [])
            self.assertEqual((await self.apply(there(blob_id, "two"))).outdated, [])
            self.assertEqual((await self.apply(there(blob_id, "three"))).outdated, [blob_id])
            # So it is with what takes the place of a copy.
            await self.store.apply_remote_list({blob_id})
            self.assertEqual(await self.outdated(), [blob_id])
            await self.publish(blob_id, "four", 900, replace=True, data=bytes(size))
            self.assertEqual(await self.outdated(), [])
            self.assertEqual((await self.apply(gone(blob_id))).deleted, [blob_id])

    async def test_what_arrives_in_a_part_of_many(self) -> None:
        many = [f"{number:04}" for number in range(2500)]
        await self.apply(*[there(blob_id) for blob_id in many])
        await self.store.apply_remote_list(set(many))
        for blob_id in (many[0], many[1000], many[-1]):
            await self.publish(blob_id, "two")

    async def test_what_a_list_has_and_the_server_does_not_give(self) -> None:
        await self.apply(there("a"))
        await self.store.apply_remote_list({"a"})
        await self.store.forget("a")
        self.assertIsNone(await self.status("a"))

    async def test_what_replaces_a_copy_is_told(self) -> None:
        """A deletion that is told next is of that, though there had been one before."""
        await self.apply(gone("a"))
        await self.put("a")
        await self.store.mark_uploaded({"a": tag("one")}, "")
        await self.publish("a", "two", replace=True)
        self.assertEqual((await self.apply(gone("a"))).deleted, ["a"])

    async def test_an_id_that_is_used_again_while_it_is_being_deleted(self) -> None:
        for size in (10, 2_000_000):
            blob_id = f"b{size}"
            await self.put(blob_id, bytes(size))
            await self.store.mark_uploaded({blob_id: tag("one")}, "")
            await self.apply(there(blob_id))
            await self.store.update_sync_status(blob_id, S.PENDING_DELETE)
            await self.apply(there(blob_id, "one", Flags.FAILED))
            await self.apply(there(blob_id, "two"))
            self.assertTrue(await self.store.delete(blob_id))
            self.assertEqual(await self.status(blob_id), S.PENDING_DOWNLOAD)
            with self.assertRaises(ReplacedMeanwhile):
                await self.publish(blob_id, "one")
            await self.publish(blob_id, "two")

    async def test_a_blob_of_this_machine_gives_way_to_that_of_the_server(self) -> None:
        await self.bring_to(S.LOCAL_ONLY)
        await self.apply(there("a"))
        self.assertEqual(await self.status(), S.LOCAL_ONLY)
        self.assertTrue(await self.store.delete("a"))
        self.assertEqual(await self.status(), S.PENDING_DOWNLOAD)

    async def test_what_is_fetched_instead_of_being_deleted(self) -> None:
        for size in (10, 2_000_000):
            blob_id = f"b{size}"
            await self.put(blob_id, bytes(size))
            await self.store.mark_uploaded({blob_id: tag("one")}, "")
            await self.apply(there(blob_id, "two"))
            await self.store.fetch_instead(blob_id)
            self.assertEqual(await self.status(blob_id), S.SYNCED)
            await self.store.update_sync_status(blob_id, S.PENDING_DELETE)
            await self.store.fetch_instead(blob_id)
            self.assertEqual(await self.status(blob_id), S.PENDING_DOWNLOAD)
            with self.assertRaises(InvalidBlob):
                await self.publish(blob_id, "one")
            await self.publish(blob_id, "two")

    async def test_what_is_fetched_instead_and_has_not_been_told_of(self) -> None:
        await self.put("a")
        await self.store.mark_uploaded({"a": tag("one")}, "")
        await self.apply(there("a"))
        await self.store.update_sync_status("a", S.PENDING_DELETE)
        await self.store.fetch_instead("a")
        await self.publish("a", "two")
        self.assertEqual(await self.status(), S.SYNCED)

    async def test_a_deletion_of_what_was_told(self) -> None:
        await self.apply(there("a"))
        await self.store.update_sync_status("a", S.PENDING_DELETE)
        await self.apply(there("a", "one", Flags.FAILED))
        self.assertFalse(await self.store.delete("a"))
        self.assertIsNone(await self.status("a"))

    async def test_which_blob_is_to_be_deleted(self) -> None:
        await self.put("here")
        await self.store.mark_uploaded({"here": tag("one")}, "")
        await self.apply(there("told"), there("here", "two"))
        for blob_id in ("here", "told", "unknown"):
            self.assertIsNone(await self.store.tag_to_delete(blob_id))
            await self.store.update_sync_status(blob_id, S.PENDING_DELETE)
        await self.apply(there("told", "two"), there("unknown", "two"))
        found = [await self.store.tag_to_delete(it) for it in ("here", "told", "unknown")]
        self.assertEqual(found, [tag("one"), tag("one"), None])

    async def test_what_is_not_here_and_fetched_instead_of_being_deleted(self) -> None:
        """The server has another one, which it has told of, or not yet."""
        for blob_id, is_told in (("a", False), ("b", True)):
            await self.apply(there(blob_id))
            await self.store.update_sync_status(blob_id, S.PENDING_DELETE)
            if is_told:
                await self.apply(there(blob_id, "two"))
            await self.store.fetch_instead(blob_id)
            await self.publish(blob_id, "two")

    async def test_a_comparison_that_was_not_needed(self) -> None:
        """It goes on where the changes had been followed to: so no deletion is left out."""
        await self.apply(gone("a"))
        await self.apply(there("a"))
        await self.publish("a", "one")
        await self.end()
        await self.store.begin_comparison(is_refused=False)
        self.assertEqual((await self.store.get_feed()).cursor, FIRST_CURSOR)
        page = ChangesPage([], "of the start", more=True)
        await self.store.apply_changes(page, FIRST_CURSOR)
        await self.store.apply_changes(page._replace(cursor="its end", more=False), page.cursor)
        self.assertEqual(await self.store.get_feed(), FeedState("cursor.2", True, 1e9))
        for cursor in ("of the start", "its end"):
            ended = await self.store.end_comparison(cursor, frozenset("a"), 2e9)
            self.assertFalse(ended.is_current)
        self.assertEqual((await self.apply(gone("a"))).deleted, ["a"])
        self.assertEqual(await self.end(["a"], 2e9), EndedComparison(True, [], 0))
        self.assertEqual(await self.store.get_feed(), FeedState("cursor.3", False, 2e9))

    # What was refused

    async def untold(self) -> list[str]:
        return sorted(await self.store.list_untold())

    async def test_what_is_uploaded_is_told_of(self) -> None:
        for blob_id in "abcd":
            await self.put(blob_id)
        # While its upload was under way, it was told of; or its deletion was.
        await self.apply(there("c"), gone("d"))
        await self.store.mark_uploaded(dict.fromkeys("abcd", tag("one")), "")
        self.assertEqual(await self.untold(), ["a", "b"])
        await self.apply(there("a"))
        self.assertEqual(await self.untold(), ["b"])
        self.assertEqual(await self.store.list_untold("mail"), [])
        self.assertEqual((await self.apply(gone("b"))).deleted, ["b"])
        self.assertEqual(await self.untold(), [])

    async def test_what_is_uploaded_and_not_told_of(self) -> None:
        many = [f"b{number}" for number in range(2500)]
        await DeferredList([Deferred.fromCoroutine(self.put(blob_id)) for blob_id in many])
        await self.store.mark_uploaded(dict.fromkeys(many, tag("one")), "")
        await self.store.update_sync_status("b1", S.PENDING_DELETE)
        self.assertEqual(await self.store.send_again([*many, "other"], "mail"), 0)
        self.assertEqual(await self.store.send_again([*many[:2000], "other"]), 1999)
        self.assertEqual(await self.status("b0"), S.PENDING_UPLOAD)
        self.assertEqual(await self.status("b1"), S.PENDING_DELETE)
        self.assertEqual(len(await self.untold()), 500)
        # Once is enough.
        await self.store.mark_uploaded({"b0": tag("one")}, "")
        self.assertNotIn("b0", await self.untold())

    async def test_what_is_replaced_by_a_download_is_told_of(self) -> None:
        await self.put("a")
        await self.store.mark_uploaded({"a": tag("one")}, "")
        await self.publish("a", "two", replace=True)
        self.assertEqual(await self.untold(), [])

    async def test_what_was_refused_is_tried_again(self) -> None:
        await self.bring_to(S.PENDING_UPLOAD, "a")
        for blob_id in "bc":
            await self.bring_to(S.FAILED_UPLOAD, blob_id)
        await self.apply(there("a"), there("b"))
        await self.store.update_sync_status("a", S.FAILED_UPLOAD)
        await self.apply(gone("b"))
        self.assertEqual(await self.store.retry_refused("mail"), 0)
        self.assertEqual(await self.store.retry_refused(), 2)
        self.assertEqual(await self.store.list_status(S.PENDING_UPLOAD), ["b", "c"])
        self.assertEqual(await self.status("a"), S.FAILED_UPLOAD)


__all__ = ["FeedContract", "gone", "tag", "there"]
