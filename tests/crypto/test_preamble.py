from __future__ import annotations

import struct
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from blobman.crypto import (
    LEGACY_PREAMBLE_SIZE,
    MAX_CONTENT_SIZE,
    PREAMBLE_SIZE,
    Method,
    Preamble,
    Scheme,
)
from blobman.crypto.preamble import (
    LEGACY_PREAMBLE_TEXT_SIZE,
    PREAMBLE_TEXT_SIZE,
    read_preamble_text,
    write_preamble_text,
)
from blobman.errors import InvalidBlob

from .vectors import BLOBS, EXTERNAL_ID, EXTERNAL_STORED, LEGACY, sealed_bytes

IV = bytes(range(16))
PREAMBLE = Preamble.for_blob("blob-1", 5000, IV, 1_700_000_000)

# Where the fields begin, as the format's table has them.
MAGIC, SCHEME, METHOD, PAD, TIME, IV_AT, ID, REV, PAD_2, SIZE = 0, 2, 3, 4, 8, 16, 32, 287, 542, 544

texts = st.text(st.characters(max_codepoint=127), max_size=254)
numbers = st.integers(0, 2**64 - 1)
preambles = st.builds(
    Preamble,
    st.sampled_from(Scheme),
    st.sampled_from(Method),
    numbers,
    st.binary(min_size=16, max_size=16),
    texts,
    texts,
    numbers,
)


def changed(raw: bytes, offset: int, new: bytes) -> bytes:
    return raw[:offset] + new + raw[offset + len(new) :]


class VectorTests(SynchronousTestCase):
    def test_new_preambles_are_those_of_soledad(self) -> None:
        for vector in BLOBS:
            if vector.sealed is None:
                continue
            assert vector.iv is not None and vector.timestamp is not None
            ours = Preamble.for_blob(vector.blob_id, vector.size, vector.iv, vector.timestamp)
            text = vector.sealed[:PREAMBLE_TEXT_SIZE]
            self.assertEqual(write_preamble_text(ours.encode()), text)
            self.assertEqual(Preamble.decode(read_preamble_text(text)), ours)

    def test_legacy(self) -> None:
        raw = read_preamble_text(sealed_bytes(LEGACY)[:LEGACY_PREAMBLE_TEXT_SIZE])
        preamble = Preamble.decode(raw)
        self.assertEqual(len(raw), LEGACY_PREAMBLE_SIZE)
        self.assertEqual(preamble.blob_id, LEGACY.blob_id)
        self.assertEqual(preamble.kind, (Scheme.SYMKEY, Method.AES_256_GCM, "ImmutableRevision"))
        self.assertIsNone(preamble.content_size)

    def test_external(self) -> None:
        preamble = Preamble.decode(read_preamble_text(EXTERNAL_STORED[:PREAMBLE_TEXT_SIZE]))
        self.assertEqual(preamble.blob_id, EXTERNAL_ID)
        self.assertEqual(preamble.kind, (Scheme.EXTERNAL, Method.PGP, "0"))
        self.assertEqual(preamble.content_size, 76)


class EncodeTests(SynchronousTestCase):
    def test_sizes(self) -> None:
        self.assertEqual((PREAMBLE_SIZE, LEGACY_PREAMBLE_SIZE), (552, 542))
        self.assertEqual(len(PREAMBLE.encode()), 552)
        self.assertEqual(len(write_preamble_text(PREAMBLE.encode())), 736)

    def test_fields_are_where_they_belong(self) -> None:
        raw = PREAMBLE.encode()
        self.assertEqual(raw[MAGIC:TIME], b"\x13\x37\x01\x02" + bytes(4))
        self.assertEqual(raw[TIME:IV_AT], struct.pack("<Q", 1_700_000_000))
        self.assertEqual(raw[IV_AT:ID], IV)
        self.assertEqual(raw[ID:REV], b"\x06blob-1" + bytes(248))
        self.assertEqual(raw[REV:PAD_2], b"\x11ImmutableRevision" + bytes(237))
        self.assertEqual(raw[PAD_2:], bytes(2) + struct.pack("<Q", 8192))

    @given(preambles)
    def test_round_trip(self, preamble: Preamble) -> None:
        self.assertEqual(Preamble.decode(preamble.encode()), preamble)

    def test_the_largest_numbers(self) -> None:
        largest = replace(PREAMBLE, timestamp=2**64 - 1, content_size=2**64 - 1)
        self.assertEqual(Preamble.decode(largest.encode()), largest)

    def test_legacy_is_never_written(self) -> None:
        self.assertRaises(ValueError, replace(PREAMBLE, content_size=None).encode)


class ValueTests(SynchronousTestCase):
    """A value that does not fit is refused, never cut."""

    def test_what_does_not_fit(self) -> None:
        for bad in (
            {"blob_id": "x" * 255},
            {"blob_id": "\u00e9"},
            {"rev": "x" * 255},
            {"timestamp": -1},
            {"timestamp": 2**64},
            {"content_size": -1},
            {"content_size": 2**64},
            {"iv": IV[:-1]},
            {"iv": IV + b"x"},
        ):
            error = self.assertRaises(ValueError, replace, PREAMBLE, **bad)
            self.assertIn(next(iter(bad)), str(error))

    def test_a_fraction_of_a_second_is_dropped(self) -> None:
        self.assertEqual(Preamble.for_blob("a", 0, IV, 1.9).timestamp, 1)

    def test_not_a_time(self) -> None:
        for bad in (-1, float("nan"), float("inf"), float("-inf"), 2.0**64):
            self.assertRaises(ValueError, Preamble.for_blob, "a", 0, IV, bad)

    def test_not_a_blob(self) -> None:
        self.assertRaises(ValueError, Preamble.for_blob, "not/a/name", 0, IV, 0)
        self.assertRaises(ValueError, Preamble.for_blob, "a", MAX_CONTENT_SIZE + 1, IV, 0)
        self.assertRaises(ValueError, Preamble.for_blob, "a", -1, IV, 0)
        self.assertRaises(TypeError, Preamble.for_blob, b"a", 0, IV, 0)


class DecodeTests(SynchronousTestCase):
    def assertRefused(self, raw: bytes, reason: str) -> None:
        error = self.assertRaises(InvalidBlob, Preamble.decode, raw)
        self.assertIn(reason, str(error))

    def test_every_other_length(self) -> None:
        longer = PREAMBLE.encode() + bytes(8)
        for length in range(len(longer) + 1):
            if length not in (PREAMBLE_SIZE, LEGACY_PREAMBLE_SIZE):
                self.assertRefused(longer[:length], f"has {length} bytes")

    def test_what_is_wrong(self) -> None:
        raw = PREAMBLE.encode()
        for offset, new, reason in (
            (MAGIC, b"\x37\x13", "begins with 3713"),
            (SCHEME, b"\x00", "scheme is 0"),
            (SCHEME, b"\x03", "scheme is 3"),
            (METHOD, b"\x04", "method is 4"),
            (METHOD, b"\xff", "method is -1"),
            (ID + 1, b"\xc3\xa9", "blob id is not ASCII"),
            (REV + 1, b"\x80", "rev is not ASCII"),
            (PAD, b"\x01", "not zero"),
            (PAD_2, b"\x01", "not zero"),
        ):
            self.assertRefused(changed(raw, offset, new), reason)

    def test_a_string_longer_than_its_field(self) -> None:
        full = replace(PREAMBLE, blob_id="x" * 254, rev="y" * 254).encode()
        for offset in (ID, REV):
            self.assertEqual(full[offset], 254)
            self.assertRefused(changed(full, offset, b"\xff"), "not zero")

    def test_bytes_after_a_string(self) -> None:
        # What follows "ImmutableRevision" is for an extension; see test_seals.
        raw = replace(PREAMBLE, rev="0").encode()
        used = {ID: len("blob-1"), REV: len("0")}
        for start, length in used.items():
            for offset in range(start + 1 + length, start + 255):
                self.assertRefused(changed(raw, offset, b"\x01"), "not zero")

    @given(st.binary(min_size=LEGACY_PREAMBLE_SIZE, max_size=PREAMBLE_SIZE))
    def test_garbage(self, raw: bytes) -> None:
        self.assertRaises(InvalidBlob, Preamble.decode, raw)

    @given(preambles, st.data())
    def test_one_form_only(self, preamble: Preamble, data: st.DataObject) -> None:
        # Whatever is changed: it is refused, or it is another preamble in its one form.
        offset = data.draw(st.integers(0, PREAMBLE_SIZE - 1))
        raw = changed(preamble.encode(), offset, data.draw(st.binary(min_size=1, max_size=1)))
        try:
            decoded = Preamble.decode(raw)
        except InvalidBlob:
            return
        self.assertEqual(decoded.encode(), raw)


class TextTests(SynchronousTestCase):
    @given(st.binary(max_size=PREAMBLE_SIZE))
    def test_round_trip(self, raw: bytes) -> None:
        self.assertEqual(read_preamble_text(write_preamble_text(raw)), raw)

    def test_the_alphabet_is_the_url_safe_one(self) -> None:
        self.assertEqual(write_preamble_text(b"\xfb\xff\xbf"), b"-_-_")
        for other in (b"+/+/", b"-_-/", b"+_-_"):
            self.assertRaises(InvalidBlob, read_preamble_text, other)

    def test_not_base64(self) -> None:
        for bad in (b"A", b"AAA", b"AA=", b"AAAA====", b"AA==AAAA", b"=AAA", b"AA\nAA", b"\xffAAA"):
            self.assertRaises(InvalidBlob, read_preamble_text, bad)

    def test_spare_bits(self) -> None:
        self.assertEqual(read_preamble_text(b"AA=="), b"\x00")
        self.assertRaises(InvalidBlob, read_preamble_text, b"AB==")

    @given(st.binary(max_size=40))
    def test_garbage(self, text: bytes) -> None:
        try:
            raw = read_preamble_text(text)
        except InvalidBlob:
            return
        self.assertEqual(write_preamble_text(raw), text)
