"""What a server lost is given back to it as it was: legacy blobs, and those that others sealed."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from blobman.crypto import Method, Preamble, Rewrapper, Scheme, Sealer, make_sealer
from blobman.crypto.preamble import write_preamble_text

from .vectors import BLOBS, EXTERNAL_ID, EXTERNAL_STORED, LEGACY, SECRET, opener_of, sealed_bytes


def delivered(size: int) -> bytes:
    preamble = Preamble(Scheme.EXTERNAL, Method.PGP, 0, bytes(16), EXTERNAL_ID, "0", size)
    return preamble.encode()


def resealed(stored: bytes, blob_id: str, step: int) -> tuple[bytes, bytes, int]:
    opener = opener_of(SECRET, blob_id)
    content = bytes(opener.feed(stored))
    opener.finish()
    sealer = make_sealer(SECRET, opener.preamble, len(content))
    pieces = [content[start : start + step] for start in range(0, len(content), step)]
    whole = sealer.header() + b"".join(map(sealer.update, pieces)) + sealer.finalize()
    return whole, sealer.tag, sealer.sealed_size


class RewrappingTests(SynchronousTestCase):
    def check(self, blob_id: str, stored: bytes) -> None:
        for step in (1, 7, 16, 1000):
            whole, tag, size = resealed(stored, blob_id, step)
            self.assertEqual((whole, tag, size), (stored, stored[-16:], len(stored)))
        opener = opener_of(SECRET, blob_id)
        content = opener.open(stored)
        sealer = make_sealer(SECRET, opener.preamble, len(content))
        self.assertEqual(sealer.header() + sealer.seal(content), stored)
        self.assertEqual(sealer.tag, stored[-16:])
        self.assertRaises(ValueError, sealer.seal, content)

    def test_legacy(self) -> None:
        self.check(LEGACY.blob_id, sealed_bytes(LEGACY))

    def test_external(self) -> None:
        self.check(EXTERNAL_ID, EXTERNAL_STORED)

    def test_ours(self) -> None:
        for vector in BLOBS[:6]:
            self.check(vector.blob_id, sealed_bytes(vector))

    def test_external_and_short(self) -> None:
        for content in (b"", b"x", b"x" * 15):
            stored = write_preamble_text(delivered(len(content))) + b" " + content
            self.check(EXTERNAL_ID, stored)

    def test_not_the_size_announced(self) -> None:
        made = Rewrapper(delivered(3), 3)
        self.assertEqual(made.update(b"12"), b"12")
        self.assertRaises(ValueError, made.finalize)
        self.assertRaises(ValueError, made.update, b"34")
        self.assertEqual(made.update(b"3") + made.finalize(), b"3")
        self.assertRaises(ValueError, made.update, b"")
        self.assertRaises(ValueError, made.finalize)

    def test_bad_arguments(self) -> None:
        self.assertRaises(ValueError, Rewrapper, delivered(0), -1)
        self.assertRaises(TypeError, Rewrapper, delivered(0), "0")

    def test_kinds(self) -> None:
        for blob_id, stored, kind in [
            (LEGACY.blob_id, sealed_bytes(LEGACY), Sealer),
            (EXTERNAL_ID, EXTERNAL_STORED, Rewrapper),
        ]:
            opener = opener_of(SECRET, blob_id)
            size = len(opener.feed(stored))
            self.assertIsInstance(make_sealer(SECRET, opener.preamble, size), kind)

    def test_no_preamble(self) -> None:
        self.assertRaises(ValueError, make_sealer, SECRET, b"", 0)
