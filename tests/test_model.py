from __future__ import annotations

import json
import string

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from blobman.model import (
    STATUS_CHANGES,
    UNAVAILABLE_STATUSES,
    BlobKey,
    Flags,
    Priority,
    QueuedTransfer,
    SyncStatus,
    check_key,
    check_name,
    check_namespace,
    check_size,
    is_legal_change,
    is_name,
)

GOOD = set(string.ascii_letters + string.digits + "_-")


class FlagsTests(SynchronousTestCase):
    def test_each_is_its_own_name(self) -> None:
        self.assertEqual([*Flags], ["PENDING", "PROCESSING", "PROCESSED", "FAILED"])
        for flag in Flags:
            self.assertEqual(
                (str(flag), f"{flag}", json.dumps(flag)),
                (flag.name, flag.name, f'"{flag.name}"'),
            )

    def test_a_set_of_names(self) -> None:
        self.assertIn("PENDING", Flags)
        self.assertIn(Flags.FAILED, Flags)
        for other in ("pending", "", "mro", "name", None, 1, b"PENDING", ["PENDING"]):
            self.assertNotIn(other, Flags)
        self.assertEqual(set(Flags), {"PENDING", "PROCESSING", "PROCESSED", "FAILED"})


class PriorityTests(SynchronousTestCase):
    def test_numbers(self) -> None:
        numbers = {priority.name: int(priority) for priority in Priority}
        self.assertEqual(numbers, {"LOW": 1, "MEDIUM": 2, "HIGH": 3, "URGENT": 4})
        self.assertIs(Priority.DEFAULT, Priority.MEDIUM)

    def test_parse(self) -> None:
        for priority in Priority:
            for form in (priority, int(priority), priority.name, priority.name.lower()):
                self.assertIs(Priority.parse(form), priority)
        self.assertIs(Priority.parse("default"), Priority.MEDIUM)

    def test_no_such_priority(self) -> None:
        for bad in (0, 5, -1, "", "2", "lowest", "__class__", "mro"):
            error = self.assertRaises(ValueError, Priority.parse, bad)
            self.assertIn(
                f"priority must be one of low, medium, high, urgent (1 to 4), not {bad!r}",
                str(error),
            )

    def test_another_type(self) -> None:
        for bad in (None, 2.0, True, b"low", [2]):
            error = self.assertRaises(TypeError, Priority.parse, bad)
            self.assertIn("priority", str(error))


class StatusTests(SynchronousTestCase):
    """What behaviour promises of the table, whatever else is in it."""

    def after(self, status: SyncStatus | None) -> set[SyncStatus | None]:
        return {change.after for change in STATUS_CHANGES if change.before == status}

    def test_unavailable_statuses_by_soledads_name(self) -> None:
        self.assertEqual(SyncStatus.UNAVAILABLE_STATUSES, (3, 5))
        self.assertEqual(len(SyncStatus), 7)

    def test_numbers_are_those_of_soledad(self) -> None:
        names = [status.name for status in sorted(SyncStatus)]
        self.assertEqual([int(status) for status in sorted(SyncStatus)], [1, 2, 3, 4, 5, 6, 7])
        self.assertEqual(
            names,
            [
                "SYNCED",
                "PENDING_UPLOAD",
                "PENDING_DOWNLOAD",
                "FAILED_UPLOAD",
                "FAILED_DOWNLOAD",
                "PENDING_DELETE",
                "LOCAL_ONLY",
            ],
        )
        self.assertEqual(UNAVAILABLE_STATUSES, (3, 5))

    def test_legal_is_what_the_table_has_or_no_change(self) -> None:
        every = [None, *SyncStatus]
        for before in every:
            for after in every:
                expected = after == before or after in self.after(before)
                self.assertIs(is_legal_change(before, after), expected)

    def test_every_row_is_a_change_and_stands_once(self) -> None:
        self.assertEqual(len(set(STATUS_CHANGES)), len(STATUS_CHANGES))
        for change in STATUS_CHANGES:
            self.assertNotEqual(change.before, change.after)
            self.assertTrue(change.operation)

    def test_a_blob_begins_in_few_ways(self) -> None:
        begins = {"PENDING_UPLOAD", "LOCAL_ONLY", "PENDING_DOWNLOAD", "PENDING_DELETE"}
        self.assertEqual({status.name for status in self.after(None) if status}, begins)

    def test_local_only_never_travels(self) -> None:
        # It can only go away; then the server's blob of that id can come.
        self.assertEqual(self.after(SyncStatus.LOCAL_ONLY), {None, SyncStatus.PENDING_DOWNLOAD})
        comes_from = {change.before for change in STATUS_CHANGES if change.after == 7}
        self.assertEqual(comes_from, {None})

    def test_what_was_not_uploaded_is_never_just_forgotten(self) -> None:
        for status in (SyncStatus.PENDING_UPLOAD, SyncStatus.FAILED_UPLOAD):
            self.assertFalse(is_legal_change(status, None))

    def test_a_download_verifies_before_it_is_synced(self) -> None:
        self.assertFalse(is_legal_change(None, SyncStatus.SYNCED))
        self.assertFalse(is_legal_change(SyncStatus.FAILED_DOWNLOAD, SyncStatus.SYNCED))

    def test_everything_is_reached_and_can_end(self) -> None:
        reached: set[SyncStatus | None] = {None}
        for _ in SyncStatus:
            reached |= {after for status in reached for after in self.after(status)}
        self.assertEqual(reached, {None, *SyncStatus})
        for status in SyncStatus:
            self.assertTrue(
                None in self.after(status) or SyncStatus.PENDING_DELETE in self.after(status)
            )
        self.assertIn(None, self.after(SyncStatus.PENDING_DELETE))


class NameTests(SynchronousTestCase):
    @given(st.text(alphabet=sorted(GOOD), min_size=1, max_size=254))
    def test_good(self, name: str) -> None:
        self.assertTrue(is_name(name))
        self.assertEqual(check_name("user", name), name)
        if name != "default":
            self.assertEqual(check_namespace(name), name)

    @given(st.text(max_size=300))
    def test_the_rule(self, text: str) -> None:
        self.assertEqual(is_name(text), 0 < len(text) <= 254 and set(text) <= GOOD)

    def test_edges(self) -> None:
        self.assertTrue(is_name("x" * 254))
        for bad in ("", "x" * 255, "a\n", "\na", "a b", "a/b", "..", "a.b", "\u0661", "\u00e9"):
            self.assertFalse(is_name(bad))
            error = self.assertRaises(ValueError, check_name, "blob_id", bad)
            self.assertTrue(str(error).startswith("blob_id must be 1 to 254 characters"))
            self.assertIn(f"({len(bad)} characters)", str(error))

    def test_a_long_one_is_not_shown_whole(self) -> None:
        error = self.assertRaises(ValueError, check_name, "user", "x" * 100_000)
        self.assertLess(len(str(error)), 200)

    def test_another_type(self) -> None:
        for bad in (None, b"a", 7, ["a"]):
            for check in (lambda value: check_name("namespace", value), check_namespace):
                error = self.assertRaises(TypeError, check, bad)
                self.assertIn("namespace must be a str", str(error))

    def test_the_empty_namespace_is_the_default_one(self) -> None:
        self.assertEqual(check_namespace(""), "")
        self.assertEqual(check_namespace("Default"), "Default")
        for check in (check_namespace, lambda name: check_key("a", name)):
            error = self.assertRaises(ValueError, check, "default")
            self.assertIn("its name here is ''", str(error))
        self.assertRaises(ValueError, check_namespace, "a/b")


class SizeTests(SynchronousTestCase):
    def test_good(self) -> None:
        for size in (0, 1, 2**40):
            self.assertEqual(check_size(size), size)

    def test_bad(self) -> None:
        for bad in (None, 1.0, "1", True):
            self.assertIn("size", str(self.assertRaises(TypeError, check_size, bad)))
        self.assertIn("size", str(self.assertRaises(ValueError, check_size, -1)))


class KeyTests(SynchronousTestCase):
    def test_one_id_in_two_namespaces_is_two_blobs(self) -> None:
        self.assertEqual(len({BlobKey("", "a"), BlobKey("mail", "a"), BlobKey("", "a")}), 2)


class QueueTests(SynchronousTestCase):
    def test_the_most_urgent_first_then_the_oldest(self) -> None:
        queue = [
            QueuedTransfer("late", Priority.LOW, 9),
            QueuedTransfer("old", Priority.MEDIUM, 1),
            QueuedTransfer("new", Priority.MEDIUM, 2),
            QueuedTransfer("urgent", Priority.URGENT, 8),
        ]
        ordered = sorted(queue, key=lambda transfer: transfer.place)
        self.assertEqual([one.blob_id for one in ordered], ["urgent", "old", "new", "late"])
