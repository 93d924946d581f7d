"""The folders of tests: there until these have ended, and afterwards if they have failed."""

from __future__ import annotations

import os
from typing import Any

from twisted.trial.reporter import TestResult
from twisted.trial.unittest import SynchronousTestCase, TestCase


class FolderTests(SynchronousTestCase):
    def outcome(self, base: type[Any], fail: str = "") -> tuple[bool, list[bool]]:
        """Run a test with two folders; tell whether it passed, and which of them are there."""

        class Case(base):  # type: ignore[misc]
            def test(self) -> None:
                self.folders = [os.path.abspath(self.mktemp()) for _ in range(2)]
                for folder in self.folders:
                    os.makedirs(os.path.join(folder, "sub"))
                self.addCleanup(self.look, "cleanup")
                self.look("test")

            def look(self, where: str) -> None:
                assert all(map(os.path.isdir, self.folders))
                self.assertNotEqual(where, fail)

        case, result = Case("test"), TestResult()
        case.run(result)
        return result.wasSuccessful(), [os.path.isdir(it) for it in case.folders]

    def test_nothing_is_left(self) -> None:
        for base in (SynchronousTestCase, TestCase):
            self.assertEqual(self.outcome(base), (True, [False, False]))

    def test_after_failures(self) -> None:
        for base in (SynchronousTestCase, TestCase):
            for where in ("test", "cleanup"):
                self.assertEqual(self.outcome(base, where), (False, [True, True]))
