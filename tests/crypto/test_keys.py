from __future__ import annotations

import traceback
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from blobman.crypto import blob_key, check_secret

from .vectors import BLOBS, SECRET


class BlobKeyTests(SynchronousTestCase):
    def test_vectors(self) -> None:
        for vector in BLOBS:
            self.assertEqual(blob_key(SECRET, vector.blob_id), vector.key)

    def test_the_first_64_bytes_are_not_used(self) -> None:
        other = bytes(64) + SECRET[64:]
        self.assertEqual(blob_key(other, "a"), blob_key(SECRET, "a"))

    def test_all_the_rest_is_used(self) -> None:
        for position in range(64, len(SECRET)):
            other = bytearray(SECRET)
            other[position] ^= 1
            self.assertNotEqual(blob_key(bytes(other), "a"), blob_key(SECRET, "a"))

    def test_an_empty_key_is_refused(self) -> None:
        self.assertRaises(ValueError, blob_key, SECRET[:64], "a")

    def test_not_an_id(self) -> None:
        for bad in ("", "a/b", "\u00e9", "x" * 255):
            self.assertRaises(ValueError, blob_key, SECRET, bad)
        self.assertRaises(TypeError, blob_key, SECRET, b"a")


class CheckSecretTests(SynchronousTestCase):
    def test_bytes_stay(self) -> None:
        self.assertEqual(check_secret(bytes(range(65))), bytes(range(65)))

    def test_a_str_is_latin_1(self) -> None:
        every = bytes(range(256))
        self.assertEqual(check_secret(every.decode("latin-1")), every)

    def test_too_short(self) -> None:
        for short in ("", b"", "s" * 64, b"s" * 64):
            error = self.assertRaises(ValueError, check_secret, short)
            self.assertIn("secret", str(error))
            self.assertIn(f"this has {len(short)}", str(error))

    def test_another_type(self) -> None:
        for bad in (None, 65, bytearray(65), ["s"] * 65):
            error = self.assertRaises(TypeError, check_secret, bad)
            self.assertIn("secret must be a str or bytes", str(error))

    def test_no_error_holds_any_of_it(self) -> None:
        # Neither the error nor one that it was raised from: a traceback would print that too.
        for secret in ("hush", "hush" * 30 + "\u2603", ["hush"] * 65):
            error = _failure(check_secret, secret)
            self.assertIsNone(error.__context__)
            self.assertNotIn("hush", "".join(traceback.format_exception_only(error)))


def _failure(call: Callable[..., object], argument: object) -> Exception:
    try:
        call(argument)
    except Exception as error:
        return error
    raise AssertionError("it did not fail")
