"""What becomes of each thing that Soledad can have recorded."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from blobman.local.mapping import NewBlob, Remark, Tally, inherit
from blobman.local.soledad import OldBlob
from blobman.model import UNAVAILABLE_STATUSES, BlobKey, Priority, SyncStatus

S = SyncStatus
HERE = (S.SYNCED, S.PENDING_UPLOAD, S.FAILED_UPLOAD, S.PENDING_DELETE, S.LOCAL_ONLY)


def with_payload(**more: Any) -> OldBlob:
    return OldBlob("a", "n", 5, 1, **{"own_status": 2, "priority": 3, "retries": 1, **more})


def without(**more: Any) -> OldBlob:
    return OldBlob("a", "n", **{"priority": 3, "retries": 1, **more})


class InheritTests(SynchronousTestCase):
    def check(self, old: OldBlob, status: SyncStatus, keeps: bool, *remarks: Remark) -> NewBlob:
        new, made = inherit(old)
        assert new is not None
        self.assertEqual((new.status, new.keeps_payload), (status, keeps))
        self.assertEqual(made, list(remarks))
        return new

    def test_what_fits(self) -> None:
        for status in HERE:
            new = self.check(with_payload(status=int(status)), status, True)
            self.assertEqual(new, (BlobKey("n", "a"), status, Priority.HIGH, 1, True, False))
        for status in (*UNAVAILABLE_STATUSES, S.PENDING_DELETE):
            new = self.check(without(status=int(status)), status, False)
            self.assertEqual(new, (BlobKey("n", "a"), status, Priority.HIGH, 1, False, False))

    def test_a_download_that_had_not_ended(self) -> None:
        for status in UNAVAILABLE_STATUSES:
            self.check(with_payload(status=int(status)), status, False, Remark.UNVERIFIED)

    def test_a_payload_without_a_status(self) -> None:
        for status in (None, 0, 8, "", b"2"):
            new = self.check(with_payload(status=status), S.PENDING_UPLOAD, True, Remark.NO_STATUS)
            self.assertEqual(new.retries, 0)
        old = with_payload(own_status=None)
        self.check(old, S.PENDING_UPLOAD, True, Remark.NO_STATUS)
        self.check(with_payload(own_status=7), S.LOCAL_ONLY, True, Remark.NO_STATUS)
        self.check(with_payload(own_status=3), S.PENDING_DOWNLOAD, False, Remark.UNVERIFIED)

    def test_a_status_without_a_payload(self) -> None:
        new = self.check(without(status=1), S.PENDING_DOWNLOAD, False, Remark.MISSING)
        self.assertEqual(new.retries, 0)
        for status in (2, 4, 7, None, 0, 8, "x"):
            self.assertEqual(inherit(without(status=status)), (None, [Remark.NOTHING]))

    def test_an_empty_payload_is_one(self) -> None:
        self.check(with_payload(status=1)._replace(size=0), S.SYNCED, True)

    def test_priorities(self) -> None:
        for priority in (None, 0, 5, "high"):
            old = with_payload(status=1, priority=priority)
            new = self.check(old, S.SYNCED, True, Remark.NO_PRIORITY)
            self.assertIs(new.priority, Priority.MEDIUM)

    def test_retries(self) -> None:
        self.assertEqual(
            self.check(with_payload(status=1, retries=None), S.SYNCED, True).retries, 0
        )
        for retries in (-1, 2**40, "3", 1.5):
            old = with_payload(status=1, retries=retries)
            self.assertEqual(self.check(old, S.SYNCED, True, Remark.NO_RETRIES).retries, 0)

    def test_names(self) -> None:
        for namespace in (None, ""):
            new, _ = inherit(with_payload(status=1)._replace(namespace=namespace))
            assert new is not None
            self.assertEqual(new.key, ("", "a"))
        for change in (
            {"blob_id": None},
            {"blob_id": ""},
            {"blob_id": "a/b"},
            {"blob_id": "a" * 255},
            {"blob_id": b"a"},
            {"blob_id": 7},
            {"namespace": "ä"},
            {"namespace": 7},
        ):
            old = with_payload(status=1)._replace(**change)
            self.assertEqual(inherit(old), (None, [Remark.BAD_NAME]))

    def test_sums(self) -> None:
        tally = Tally()
        for old in (with_payload(status=1), with_payload(status=3), without(status=2)):
            tally.count(old)
        report = tally.report("here", "there")
        self.assertEqual((report.blobs, report.payloads, report.size), (2, 1, 5))
        self.assertEqual(report.statuses, {"SYNCED": 1, "PENDING_DOWNLOAD": 1})
        self.assertEqual(report.remarks, {Remark.UNVERIFIED.value: 1, Remark.NOTHING.value: 1})
