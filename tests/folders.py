"""What a test leaves on the disk: nothing, unless it has failed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import wraps
from typing import Any

from twisted.trial.itrial import IReporter
from twisted.trial.reporter import TestResultDecorator
from twisted.trial.unittest import SynchronousTestCase


def keep_folders_of_failures_only(cases: type[SynchronousTestCase]) -> None:
    """
    Have the folders that tests make with ``mktemp`` removed after those that pass.

    Stores and servers take room ahead: together, the tests would leave some 7 GB.

    :param cases: a class of tests. It is changed, and so are those derived from it.
    """
    make: Callable[[SynchronousTestCase], str] = cases.mktemp
    run: Callable[[SynchronousTestCase, Any], None] = cases.run

    @wraps(make)
    def mktemp(case: Any) -> str:
        path = make(case)
        vars(case).setdefault("_folders", []).append(os.path.abspath(os.path.dirname(path)))
        return path

    @wraps(run)
    def run_and_remove(case: Any, result: Any) -> None:
        if not IReporter.providedBy(result):  # That of another runner than trial.
            run(case, result)
            return
        outcome = _Outcome(result)
        run(case, outcome)
        folders = vars(case).pop("_folders", [])
        if not outcome.has_failed:
            for folder in folders:
                shutil.rmtree(folder, ignore_errors=True)

    cases.mktemp = mktemp  # type: ignore[method-assign]
    cases.run = run_and_remove  # type: ignore[method-assign]


class _Outcome(TestResultDecorator):
    has_failed = False

    def addError(self, *failed: Any) -> None:
        self.has_failed = True
        self._originalReporter.addError(*failed)

    def addFailure(self, *failed: Any) -> None:
        self.has_failed = True
        self._originalReporter.addFailure(*failed)
