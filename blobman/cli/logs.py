"""The log of this process: on standard error, for those who want it."""

from __future__ import annotations

import os
import sys

from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)
from zope.interface import implementer

DEBUG_VARIABLE = "BLOBMAN_DEBUG"
"""The environment variable that shows the log, and tracebacks of errors, if it is not empty."""


def is_debugging() -> bool:
    """Look whether the user wants to see everything."""
    return bool(os.environ.get(DEBUG_VARIABLE))


@implementer(ILogObserver)
class _Silence:
    def __call__(self, event: LogEvent) -> None:
        pass


def begin_log(visible: bool) -> None:
    """
    Begin to log. To be called once in a process.

    :param visible: write what is of level ``info`` and above to standard error.
    """
    observer: ILogObserver = _Silence()
    if visible or is_debugging():
        levels = LogLevelFilterPredicate(defaultLogLevel=LogLevel.info)
        observer = FilteringLogObserver(textFileLogObserver(sys.stderr), [levels])
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)
