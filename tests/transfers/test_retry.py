"""Whether and when to try again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from blobman import (
    BlobAlreadyExistsError,
    BlobNotFoundError,
    CertificateError,
    InvalidBlob,
    QuotaExceededError,
    RetriableTransferError,
    ServerError,
    StoreError,
    StoreFullError,
    UnauthorizedError,
)
from blobman.transfers.retry import ends_run, is_retriable, retry_delay


def same(seconds: float) -> float:
    return seconds


class RetryTests(SynchronousTestCase):
    def test_schedule(self) -> None:
        delays = [retry_delay(failures, same) for failures in range(1, 10)]
        self.assertEqual(delays, [1, 11, 21, 31, 41, 51, 60, 60, 60])

    def test_jitter(self) -> None:
        self.assertEqual(retry_delay(3, lambda seconds: seconds / 2), 10.5)

    def test_retry_after_is_not_undercut(self) -> None:
        self.assertEqual(retry_delay(1, same, 30.0), 30.0)
        self.assertEqual(retry_delay(5, same, 30.0), 41.0)

    def test_retry_after_has_a_limit(self) -> None:
        self.assertEqual(retry_delay(1, same, 1e9), 3600.0)

    @given(st.integers(1, 10**6), st.none() | st.floats(0, 1e12))
    def test_never_negative_or_endless(self, failures: int, retry_after: float | None) -> None:
        self.assertTrue(1 <= retry_delay(failures, same, retry_after) <= 3600)

    def test_jitter_that_makes_no_sense(self) -> None:
        for wrong, kind in (
            (-1.0, ValueError),
            (float("nan"), ValueError),
            (float("inf"), ValueError),
            (None, TypeError),
        ):
            error = self.assertRaises(kind, retry_delay, 1, lambda _, wrong=wrong: wrong)
            self.assertIn("jitter", str(error))

    def test_what_may_pass(self) -> None:
        self.assertTrue(is_retriable(RetriableTransferError("cut")))
        for error in (
            BlobNotFoundError("x"),
            BlobAlreadyExistsError("x"),
            QuotaExceededError("x"),
            InvalidBlob("x"),
            UnauthorizedError("x"),
            ServerError("x", 400),
            ValueError("x"),
        ):
            self.assertFalse(is_retriable(error), error)

    def test_what_a_stranger_says_is_tried_three_times(self) -> None:
        page = ServerError("HTML", 200, may_pass=True)
        self.assertEqual([is_retriable(page, n) for n in (1, 2, 3, 4)], [True, True, False, False])

    def test_a_run_ends(self) -> None:
        cut = RetriableTransferError("cut")
        self.assertEqual(
            [is_retriable(cut, n) for n in (1, 9, 10, 1000)], [True, True, False, False]
        )

    def test_what_ends_a_run(self) -> None:
        self.assertTrue(ends_run(UnauthorizedError("x")))
        self.assertTrue(ends_run(CertificateError("x")))
        self.assertTrue(ends_run(StoreFullError("x")))
        self.assertFalse(ends_run(StoreError("x")))
        self.assertFalse(ends_run(QuotaExceededError("x")))
        self.assertFalse(ends_run(RetriableTransferError("x")))
