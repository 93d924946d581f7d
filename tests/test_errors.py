from __future__ import annotations

import copy
import pickle
import re

from twisted.trial.unittest import SynchronousTestCase

from blobman import errors
from blobman.errors import BlobError, BlobNotFoundError, RetriableTransferError, ServerError

ALL = {
    name: value
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, BlobError) and name != "SoledadError"
}


def drawn_tree() -> dict[str, str]:
    """Read the drawing at the top of the module: each error, and what it is drawn under."""
    parents: dict[str, str] = {}
    above = {0: "BlobError"}
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"    ([| ]*)\+-- (\w+)", line)
        if match:
            depth = len(match[1]) // 4 + 1
            above[depth] = match[2]
            parents[match[2]] = above[depth - 1]
    return parents


class TreeTests(SynchronousTestCase):
    def test_the_drawing_is_true(self) -> None:
        real = {
            name: error.__mro__[1].__name__ for name, error in ALL.items() if name != "BlobError"
        }
        self.assertEqual(drawn_tree(), real)

    def test_every_name_is_public(self) -> None:
        self.assertEqual(set(errors.__all__), {*ALL, "SoledadError", "describe"})

    def test_the_name_for_ported_code(self) -> None:
        self.assertIs(errors.SoledadError, BlobError)

    def test_builtin_errors_that_callers_expect(self) -> None:
        self.assertTrue(issubclass(errors.WrongSizeError, ValueError))
        self.assertTrue(issubclass(errors.UnreadableContentError, OSError))

    def test_not_found_can_mean_not_yet(self) -> None:
        self.assertTrue(issubclass(BlobNotFoundError, RetriableTransferError))


class InstanceTests(SynchronousTestCase):
    def test_each_takes_a_message_and_shows_it(self) -> None:
        for error in ALL.values():
            self.assertEqual(str(error("what happened")), "what happened")

    def test_each_survives_copying_and_pickling(self) -> None:
        # As when one crosses from a worker process of the tests.
        for error in ALL.values():
            for twin in (copy.copy(error("text")), pickle.loads(pickle.dumps(error("text")))):
                self.assertIs(type(twin), error)
                self.assertEqual(str(twin), "text")

    def test_what_they_carry(self) -> None:
        self.assertEqual(ServerError("text", 418).code, 418)
        self.assertIsNone(ServerError("text").code)
        self.assertEqual(RetriableTransferError("text", 2.5).retry_after, 2.5)
        self.assertIsNone(BlobNotFoundError("text").retry_after)
        self.assertEqual(pickle.loads(pickle.dumps(ServerError("text", 418))).code, 418)


class DescribeTests(SynchronousTestCase):
    def test_with_and_without_a_namespace(self) -> None:
        self.assertEqual(errors.describe("x"), "blob 'x'")
        self.assertEqual(errors.describe("x", "mail"), "blob 'x' in namespace 'mail'")
