"""The log of this process: on standard error, for those who want it."""

from __future__ import annotations

import sys

from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    formatEventAsClassicLogText,
    globalLogBeginner,
)
from zope.interface import implementer

from .failures import is_debugging
from .text import visible


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
        observer = FilteringLogObserver(FileLogObserver(sys.stderr, _format), [levels])
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)


def _format(event: LogEvent) -> str | None:
    """Write an event as Twisted does, on a terminal: what it tells can come from strangers."""
    text = formatEventAsClassicLogText(event)
    if text is None:
        return None
    # Twisted has a tab before all lines but the first.
    return "\n\t".join(map(visible, text.removesuffix("\n").split("\n\t"))) + "\n"
