"""Reading a segment of the journal: whole, cut, damaged, and full of what looks like records."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from blobman.server.storage.interface import BlobName
from blobman.server.storage.soledad.intake import SegmentFile
from blobman.server.storage.soledad.journal import Gap, Record, read_segment

from .older import DATE, record, sealed

A, B, C = (("alice", "default", blob_id) for blob_id in "abc")

NAMES = st.sampled_from([A, B, C, ("bob", "MX", "x" * 254)])
RECORDS = st.one_of(
    st.builds(
        record, st.just(b"D"), NAMES, st.binary(min_size=1, max_size=300), st.integers(0, 2**63)
    ),
    st.builds(record, st.just(b"P"), NAMES, st.binary(min_size=1, max_size=300)),
    st.builds(record, st.just(b"K"), NAMES),
)


class ReadingTests(SynchronousTestCase):
    def read(self, data: bytes) -> list[Record | Gap]:
        """Read a segment, and see that what is given joins from its beginning to its end."""
        found = list(read_segment(data))
        at = 0
        for one in found:
            self.assertLessEqual(at, one.start)
            if isinstance(one, Gap):
                self.assertEqual(one.start, at)
                self.assertGreater(one.end, at)
            at = one.end
        self.assertEqual(at, len(data))
        return found

    def names(self, data: bytes) -> list[str]:
        """Name what a segment has, with ``-`` for what is damaged."""
        return [one.name.blob_id if isinstance(one, Record) else "-" for one in self.read(data)]

    def test_kinds(self) -> None:
        data = record(b"D", A, b"1234", DATE) + record(b"P", B, b"56") + record(b"K", A)
        found = self.read(data)
        kinds = [(it.is_put, it.name, it.date) for it in found if isinstance(it, Record)]
        self.assertEqual(
            kinds,
            [(True, BlobName(*A), DATE), (True, BlobName(*B), 0), (False, BlobName(*A), 0)],
        )
        contents = [data[it.start : it.end] for it in found]
        self.assertEqual(contents, [b"1234", b"56", b""])

    def test_nothing(self) -> None:
        self.assertEqual(self.read(b""), [])

    def test_cut_short(self) -> None:
        whole = record(b"D", A, sealed("a"))
        for more in range(1, len(whole)):
            self.assertEqual(self.names(whole + whole[:more]), ["a", "-"])

    def test_any_byte_damaged(self) -> None:
        before, hit, after = (record(b"D", it, sealed(it[2], 100)) for it in (A, B, C))
        for at in range(len(hit)):
            damaged = hit[:at] + bytes([hit[at] ^ 0x55]) + hit[at + 1 :]
            self.assertEqual(self.names(before + damaged + after), ["a", "-", "c"])

    def test_a_kind_that_is_another(self) -> None:
        # No checksum has it.
        for kind, content in ((b"D", b"1"), (b"P", b"1"), (b"K", b"")):
            hit = record(kind, B, content)
            for other in range(256):
                if other != kind[0]:
                    data = record(b"D", A, b"1") + bytes([other]) + hit[1:] + record(b"K", C)
                    self.assertEqual(self.names(data), ["a", "-", "c"])

    def test_bytes_lost_and_too_many(self) -> None:
        before, after = record(b"D", A, sealed("a")), record(b"K", C)
        for between in (b"\0", bytes(4096), b"D" * 100, record(b"D", B, b"1")[:-1], b'["' * 99):
            self.assertEqual(self.names(before + between + after), ["a", "-", "c"])

    def test_what_a_user_put_is_no_record(self) -> None:
        # The checksum of what it is in does not fit, but its header makes sense.
        forged = record(b"D", ("victim", "default", "v"), b"forged")
        holding = bytearray(record(b"D", A, sealed("1") + forged + sealed("2")))
        holding[-1] ^= 1
        self.assertEqual(self.names(bytes(holding) + record(b"K", B)), ["-", "b"])
        self.assertEqual(self.names(bytes(holding)), ["-"])

    def test_names_that_are_none(self) -> None:
        wrong = [["a/b", "default", "x"], ["a", "default"], ["a", "default", 1], ["a", "", "x"]]
        for name in wrong:
            data = record(b"D", A, b"1") + record(b"D", name, b"1") + record(b"K", C)  # type: ignore[arg-type]
            self.assertEqual(self.names(data), ["a", "-", "c"])

    @given(st.lists(RECORDS, max_size=6))
    def test_what_was_written(self, records: list[bytes]) -> None:
        found = self.read(b"".join(records))
        self.assertEqual(len(found), len(records))
        self.assertTrue(all(isinstance(one, Record) for one in found))

    @given(st.binary(max_size=2000))
    def test_garbage(self, data: bytes) -> None:
        self.read(data)

    @given(st.lists(RECORDS, min_size=1, max_size=6), st.data())
    def test_damage_takes_one_record(self, records: list[bytes], draw: st.DataObject) -> None:
        which = draw.draw(st.integers(0, len(records) - 1))
        hit = bytearray(records[which])
        at = draw.draw(st.integers(0, len(hit) - 1))
        hit[at] ^= draw.draw(st.integers(1, 255))
        found = self.read(b"".join([*records[:which], bytes(hit), *records[which + 1 :]]))
        whole = [*self.read(b"".join(records[:which])), *self.read(b"".join(records[which + 1 :]))]
        told = [one for one in found if isinstance(one, Record)]
        self.assertEqual([it[:3] for it in told], [it[:3] for it in whole])

    @given(st.lists(RECORDS, max_size=4), st.binary(max_size=50), st.lists(RECORDS, max_size=4))
    def test_a_file_is_read_as_bytes_are(
        self, first: list[bytes], garbage: bytes, last: list[bytes]
    ) -> None:
        data = b"".join([*first, garbage, *last])
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(data)
        descriptor = os.open(path, os.O_RDONLY)
        try:
            found = list(read_segment(SegmentFile(descriptor)))
        finally:
            os.close(descriptor)
        self.assertEqual(found, self.read(data))

    def test_a_search_over_many_parts(self) -> None:
        noise = b"x" * 65_523
        for shift in range(30):
            data = noise + b"x" * shift + record(b"D", A, b"1") + bytes(200_000) + record(b"K", B)
            path = self.mktemp()
            with open(path, "wb") as file:
                file.write(data)
            with open(path, "rb") as file:
                found = list(read_segment(SegmentFile(file.fileno())))
            names = [it.name.blob_id for it in found if isinstance(it, Record)]
            self.assertEqual(names, ["a", "b"])
