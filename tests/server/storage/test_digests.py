"""Digests of chunks: the same however the bytes come, and another one for other bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from blobman.server.storage.digests import (
    CHUNK,
    DIGEST_SIZE,
    ChunkDigests,
    check_chunk,
    digest_of,
)
from blobman.server.storage.interface import DamagedError
from blobman.testing.contracts.support import sealed


def digests_of(pieces: list[bytes | memoryview]) -> bytes:
    digests = ChunkDigests()
    digests.update(pieces)
    return digests.finish()


class DigestTests(SynchronousTestCase):
    def test_sizes(self) -> None:
        for size, chunks in ((0, 0), (1, 1), (CHUNK - 1, 1), (CHUNK, 1), (CHUNK + 1, 2)):
            content = sealed(size=size)
            digests = digests_of([content])
            self.assertEqual(len(digests), chunks * DIGEST_SIZE)
            expected = [content[it : it + CHUNK] for it in range(0, size, CHUNK)]
            self.assertEqual(digests, b"".join(map(digest_of, expected)))

    @given(st.lists(st.integers(0, CHUNK), max_size=12))
    def test_in_any_pieces(self, sizes: list[int]) -> None:
        content = sealed("pieces", sum(sizes))
        pieces: list[bytes | memoryview] = []
        for number, size in enumerate(sizes):
            start = sum(sizes[:number])
            piece = content[start : start + size]
            pieces.append(memoryview(piece) if number % 2 else piece)
        self.assertEqual(digests_of(pieces), digests_of([content]))

    @given(st.integers(0, CHUNK + 99), st.integers(1, 255))
    def test_any_other_byte_is_noticed(self, at: int, change: int) -> None:
        content = bytearray(sealed(size=CHUNK + 100))
        digests = digests_of([bytes(content)])
        content[at] ^= change
        chunks = [bytes(content[:CHUNK]), bytes(content[CHUNK:])]
        check_chunk(digests, at < CHUNK, chunks[at < CHUNK])
        self.assertRaises(DamagedError, check_chunk, digests, at >= CHUNK, chunks[at >= CHUNK])

    def test_a_chunk_in_the_place_of_another(self) -> None:
        content = sealed("a", CHUNK) + sealed("b", CHUNK)
        digests = digests_of([content])
        self.assertRaises(DamagedError, check_chunk, digests, 0, content[CHUNK:])
        self.assertRaises(DamagedError, check_chunk, digests, 2, b"")

    def test_none_were_recorded(self) -> None:
        check_chunk(b"", 0, b"anything")
