from __future__ import annotations

import hashlib
from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from blobman.crypto import (
    MAX_CONTENT_SIZE,
    Method,
    Opener,
    Preamble,
    Scheme,
    Sealer,
    sealed_size,
)
from blobman.crypto.wrapping import SMALL

from .vectors import BLOBS, SECRET, Vector, open_in_pieces

IV = bytes(range(16))


def preamble(size: int) -> Preamble:
    return Preamble.for_blob("a", size, IV, 0)


def sealer(size: int) -> Sealer:
    return Sealer(SECRET, preamble(size).encode(), size)


def vector_sealer(vector: Vector) -> Sealer:
    assert vector.iv is not None and vector.timestamp is not None
    made = Preamble.for_blob(vector.blob_id, vector.size, vector.iv, vector.timestamp)
    return Sealer(SECRET, made.encode(), vector.size)


class VectorTests(SynchronousTestCase):
    def test_the_recipe_for_the_cleartext(self) -> None:
        for vector in BLOBS:
            digest = hashlib.sha256(vector.cleartext).hexdigest()
            self.assertEqual(digest, vector.cleartext_sha256)

    def test_sealing_gives_the_bytes_of_soledad(self) -> None:
        for vector in BLOBS:
            made = vector_sealer(vector)
            content = made.update(vector.cleartext)
            tag = made.finalize()
            sealed = made.header() + content + tag
            self.assertEqual(tag, vector.tag)
            self.assertEqual(len(sealed), sealed_size(vector.size))
            self.assertEqual(hashlib.sha256(sealed).hexdigest(), vector.sealed_sha256)
            if vector.sealed is not None:
                self.assertEqual(sealed, vector.sealed)


class AtOnceTests(SynchronousTestCase):
    def test_the_same_bytes_as_in_pieces(self) -> None:
        for size in (0, 1, 15, 2031, 2032, 2033, 2048, 10_000, SMALL, SMALL + 1):
            content = hashlib.shake_128(b"x").digest(size)
            whole, cut = sealer(size), sealer(size)
            sealed = whole.seal(content)
            self.assertTrue(sealed == cut.update(content) + cut.finalize(), size)
            self.assertEqual(whole.tag, cut.tag)
            self.assertEqual(len(whole.header() + sealed), whole.sealed_size)

    def test_every_type_of_octets(self) -> None:
        first = sealer(5).seal(b"bytes")
        for octets in (bytearray(b"bytes"), memoryview(b"bytes")):
            self.assertEqual(sealer(5).seal(octets), first)

    def test_not_the_size_announced(self) -> None:
        for content, reason in ((b"1234", "missing"), (b"123456", "longer")):
            error = self.assertRaises(ValueError, sealer(5).seal, content)
            self.assertIn(reason, str(error))

    def test_once(self) -> None:
        begun = sealer(5)
        begun.update(b"123")
        self.assertIn("begun", str(self.assertRaises(ValueError, begun.seal, b"12345")))
        for content in (b"", b"12345"):
            done = sealer(len(content))
            done.seal(content)
            self.assertRaises(ValueError, done.seal, content)
            self.assertRaises(ValueError, done.finalize)


class PiecesTests(SynchronousTestCase):
    @given(st.lists(st.binary(max_size=100), max_size=10))
    def test_how_it_is_cut_makes_no_difference(self, pieces: list[bytes]) -> None:
        whole = b"".join(pieces)
        at_once, in_pieces = sealer(len(whole)), sealer(len(whole))
        expected = at_once.update(whole) + at_once.finalize()
        sealed = b"".join([in_pieces.update(piece) for piece in pieces])
        self.assertEqual(sealed + in_pieces.finalize(), expected)

    @given(st.lists(st.binary(max_size=100), max_size=10), st.integers(0, 50))
    def test_update_into_equals_update(self, pieces: list[bytes], spare: int) -> None:
        size = sum(map(len, pieces))
        one, other = sealer(size), sealer(size)
        buffer = bytearray(100 + spare)
        for piece in pieces:
            length = other.update_into(piece, buffer)
            self.assertEqual(bytes(buffer[:length]), one.update(piece))
        self.assertEqual(other.finalize(), one.finalize())

    def test_a_buffer_of_just_that_size_will_do(self) -> None:
        for data in (b"", b"x", b"x" * 16, b"x" * 1000):
            made = sealer(len(data))
            buffer = bytearray(len(data))
            self.assertEqual(made.update_into(data, memoryview(buffer)), len(data))
            self.assertEqual(bytes(buffer), sealer(len(data)).update(data))

    def test_every_type_of_octets(self) -> None:
        expected = sealer(5).update(b"bytes")
        for data in (
            b"bytes",
            bytearray(b"bytes"),
            memoryview(b"bytes"),
            memoryview(b"-bytes")[1:],
        ):
            self.assertEqual(sealer(5).update(data), expected)

    @given(st.data())
    def test_there_and_back(self, data: st.DataObject) -> None:
        content = data.draw(st.binary(max_size=10_000))
        made = sealer(len(content))
        sealed = made.header() + made.update(content) + made.finalize()
        cuts = data.draw(st.lists(st.integers(0, len(sealed)), max_size=20).map(sorted))
        bounds = [0, *cuts, len(sealed)]
        pieces = [sealed[start:end] for start, end in pairwise(bounds)]
        self.assertEqual(open_in_pieces(Opener(SECRET, "a"), pieces), content)


class MisuseTests(SynchronousTestCase):
    def test_too_much(self) -> None:
        made = sealer(3)
        buffer = bytearray(10)
        self.assertRaises(ValueError, made.update, b"1234")
        self.assertRaises(ValueError, made.update_into, b"1234", buffer)
        self.assertEqual(buffer, bytes(10))
        # Nothing of it was sealed: the blob can still be made.
        good = sealer(3)
        self.assertEqual(made.update(b"123"), good.update(b"123"))
        self.assertRaises(ValueError, made.update, b"4")
        self.assertEqual(made.finalize(), good.finalize())

    def test_too_little(self) -> None:
        made = sealer(3)
        made.update(b"12")
        error = self.assertRaises(ValueError, made.finalize)
        self.assertIn("1 of 3 bytes", str(error))
        made.update(b"3")
        self.assertEqual(len(made.finalize()), 16)

    def test_too_small_a_buffer(self) -> None:
        made = sealer(3)
        self.assertRaises(ValueError, made.update_into, b"123", bytearray(2))
        good = sealer(3)
        self.assertEqual(made.update(b"123"), good.update(b"123"))
        self.assertEqual(made.finalize(), good.finalize())

    def test_after_the_end(self) -> None:
        made = sealer(0)
        made.finalize()
        self.assertRaises(ValueError, made.update, b"")
        self.assertRaises(ValueError, made.update_into, b"", bytearray(1))
        self.assertRaises(ValueError, made.finalize)

    def test_another_kind_of_preamble(self) -> None:
        good = preamble(100)
        for bad in (
            replace(good, scheme=Scheme.EXTERNAL),
            replace(good, method=Method.AES_256_CTR),
            replace(good, method=Method.PGP),
            replace(good, rev="0"),
        ):
            error = self.assertRaises(ValueError, Sealer, SECRET, bad.encode(), 100)
            self.assertIn("ours to seal", str(error))

    def test_not_a_preamble(self) -> None:
        for bad in (b"", bytes(552), preamble(1).encode()[:-1]):
            error = self.assertRaises(ValueError, Sealer, SECRET, bad, 1)
            self.assertIn("preamble can't be read", str(error))

    def test_the_preamble_of_another_size(self) -> None:
        raw = preamble(4095).encode()
        self.assertEqual(Sealer(SECRET, raw, 0).size, 0)
        self.assertRaises(ValueError, Sealer, SECRET, raw, 4096)

    def test_wrong_sizes(self) -> None:
        raw = preamble(0).encode()
        self.assertRaises(ValueError, Sealer, SECRET, raw, -1)
        self.assertRaises(ValueError, Sealer, SECRET, raw, MAX_CONTENT_SIZE + 1)
        self.assertRaises(TypeError, Sealer, SECRET, raw, 1.0)

    def test_too_short_a_secret(self) -> None:
        self.assertRaises(ValueError, Sealer, SECRET[:64], preamble(0).encode(), 0)

    def test_the_repr_shows_no_secret(self) -> None:
        text = repr(sealer(0)) + repr(Opener(SECRET, "a"))
        self.assertNotIn(repr(SECRET)[2:20], text)
        self.assertNotIn(SECRET.decode("ascii")[:16], text)
