"""The log of this process: on standard error, for those who want it."""

from __future__ import annotations

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

from .failures import is_debugging


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
