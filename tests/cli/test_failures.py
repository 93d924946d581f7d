from __future__ import annotations

import click
from twisted.trial.unittest import SynchronousTestCase

import blobman
from blobman import BlobError, BlobNotFoundError, ServerError, StoreError, WrongKeyError
from blobman.cli.failures import EXIT_CODES, Interrupted, describe_error, exit_code


class ExitCodeTests(SynchronousTestCase):
    def test_each_means_one_thing(self) -> None:
        codes = [row.code for row in EXIT_CODES]
        self.assertEqual(len(codes), len(set(codes)))
        self.assertFalse({0, 126, 127} & set(codes))

    def test_a_special_error_is_not_hidden_by_a_general_one(self) -> None:
        for index, row in enumerate(EXIT_CODES):
            earlier = tuple(error for other in EXIT_CODES[:index] for error in other.errors)
            for error in row.errors:
                self.assertFalse(issubclass(error, earlier), error)

    def test_every_error_of_blobman_has_one(self) -> None:
        for name in blobman.__all__:
            error = getattr(blobman, name)
            if isinstance(error, type) and issubclass(error, BlobError):
                self.assertIn(exit_code(error("x")), range(1, 11))

    def test_some(self) -> None:
        self.assertEqual(exit_code(BlobNotFoundError("x")), 3)
        self.assertEqual(exit_code(WrongKeyError("x")), 9)
        self.assertEqual(exit_code(StoreError("x")), 10)
        self.assertEqual(exit_code(ServerError("x", 418)), 1)
        self.assertEqual(exit_code(click.Abort()), 130)
        self.assertEqual(exit_code(Interrupted(15)), 143)


class DescriptionTests(SynchronousTestCase):
    def test_one_line(self) -> None:
        self.assertEqual(describe_error(BlobError("a\n  b\n")), "a b")

    def test_nothing_to_say(self) -> None:
        self.assertEqual(describe_error(BlobError()), "BlobError")

    def test_files(self) -> None:
        error = FileNotFoundError(2, "No such file or directory", "a")
        self.assertEqual(describe_error(error), "a: No such file or directory")
        self.assertEqual(describe_error(OSError("odd")), "odd")

    def test_what_nobody_expected(self) -> None:
        self.assertIn("unexpected KeyError: 'x'", describe_error(KeyError("x")))
        self.assertIn("BLOBMAN_DEBUG", describe_error(KeyError("x")))

    def test_signals(self) -> None:
        self.assertEqual(describe_error(Interrupted(15)), "interrupted by SIGTERM")
        self.assertEqual(describe_error(click.Abort()), "interrupted")
