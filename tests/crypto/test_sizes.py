from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from blobman.crypto import MAX_CONTENT_SIZE, SEALED_OVERHEAD, padded_size, sealed_size


class PaddedSizeTests(SynchronousTestCase):
    def test_edges(self) -> None:
        expected = {
            0: 4096,
            1: 4096,
            4095: 4096,
            4096: 8192,
            8191: 8192,
            8192: 16384,
            MAX_CONTENT_SIZE: 2**36,
        }
        self.assertEqual({size: padded_size(size) for size in expected}, expected)

    @given(st.integers(0, MAX_CONTENT_SIZE))
    def test_is_the_smallest_that_will_do(self, size: int) -> None:
        padded = padded_size(size)
        self.assertEqual(padded & (padded - 1), 0, "not a power of two")
        self.assertGreater(padded, size)
        self.assertTrue(padded == 4096 or padded // 2 <= size)


class SealedSizeTests(SynchronousTestCase):
    def test_overhead(self) -> None:
        self.assertEqual(SEALED_OVERHEAD, 753)
        self.assertEqual(sealed_size(0), 753)
        self.assertEqual(sealed_size(MAX_CONTENT_SIZE), 2**36 - 32 + 753)

    def test_more_than_gcm_can_seal(self) -> None:
        error = self.assertRaises(ValueError, sealed_size, MAX_CONTENT_SIZE + 1)
        self.assertIn("size must be at most 68719476704 bytes", str(error))

    def test_not_a_size(self) -> None:
        self.assertRaises(ValueError, sealed_size, -1)
        self.assertRaises(TypeError, sealed_size, "1")
        self.assertRaises(TypeError, sealed_size, True)
