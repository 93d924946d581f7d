"""Does a command's work under the reactor, and ends it on a signal."""

from __future__ import annotations

import signal
import types
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from .failures import Interrupted
from .garbage import collect_rarely
from .logs import begin_log
from .terminal import leave_echo
from .work import Work

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(work: Work) -> int:
    """
    Run the global reactor until the work has ended. Can be done once in a process.

    SIGINT, SIGTERM or SIGHUP cancel the work, and wait for it. A second one ends the process.

    :return: the exit code.
    :raise Interrupted: a signal ended it.
    :raise BaseException: what the work raises.
    """
    from twisted.internet import reactor

    from blobman import use_monotonic_time

    use_monotonic_time(reactor)
    begin_log(work.logs)
    collect_rarely()
    running = _Running(reactor, work)
    running.reactor.callWhenRunning(running.start)
    running.reactor.run()
    return running.outcome()


class _Running:
    def __init__(self, reactor: Any, work: Work) -> None:
        self.reactor = reactor
        self._work = work
        self._signal_number = 0
        self._result: Failure | int | None = None

    def start(self) -> None:
        # The reactor has put its own handlers there, which would stop it at once.
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._interrupt)
        self._operation = Deferred.fromCoroutine(self._work.begin(self.reactor))
        self._operation.addBoth(self._end)

    def _interrupt(self, number: int, frame: types.FrameType | None) -> None:
        self._signal_number = number
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        self.reactor.callFromThread(self._cancel)

    def _cancel(self) -> None:
        if self._signal_number == signal.SIGINT:
            leave_echo()
        self._operation.cancel()

    def _end(self, result: Failure | int | None) -> None:
        self._result = result
        self.reactor.stop()

    def outcome(self) -> int:
        if isinstance(self._result, Failure):
            if self._signal_number and self._result.check(CancelledError):
                raise Interrupted(self._signal_number) from self._result.value
            self._result.raiseException()
        return self._result or 0
