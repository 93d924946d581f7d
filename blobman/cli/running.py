"""Does a command's work under the reactor, and ends it on a signal."""

from __future__ import annotations

import signal
import types
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ReactorNotRunning
from twisted.python.failure import Failure

from blobman import ClosedError, use_monotonic_time

from .failures import Interrupted
from .garbage import collect_rarely
from .logs import begin_log
from .lookups import look_hosts_up_apart
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

    running = _Running(reactor, work)
    with running.hearing_signals():
        use_monotonic_time(reactor)
        begin_log(work.logs)
        collect_rarely()
        look_hosts_up_apart(reactor)
        running.reactor.callWhenRunning(running.start)
        running.reactor.run()
    return running.outcome()


class _Running:
    def __init__(self, reactor: Any, work: Work) -> None:
        self.reactor = reactor
        self._work = work
        self._signal_number = 0
        self._result: Failure | int | None = None
        self._ended: Deferred[None] = Deferred()

    @contextmanager
    def hearing_signals(self) -> Iterator[None]:
        """Have signals cancel the work; afterwards they end the process."""
        self._hear_signals()
        try:
            yield
        finally:
            self._be_deaf()

    def _hear_signals(self) -> None:
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._interrupt)

    def _be_deaf(self) -> None:
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)

    def start(self) -> None:
        # The reactor has put handlers of its own there, which would stop it at once.
        self._hear_signals()
        self.reactor.addSystemEventTrigger("before", "shutdown", self._stop)
        self._operation = Deferred.fromCoroutine(self._work.begin(self.reactor))
        self._operation.addBoth(self._end)

    def _interrupt(self, number: int, frame: types.FrameType | None) -> None:
        self._signal_number = number
        self._be_deaf()
        self.reactor.callFromThread(self._cancel)

    def _cancel(self) -> None:
        if self._signal_number == signal.SIGINT:
            leave_echo()
        self._operation.cancel()

    def _stop(self) -> Deferred[None]:
        """End the work, if the reactor was told to stop by a signal that came to it first."""
        if not self._ended.called:
            self._signal_number = self._signal_number or signal.SIGTERM
            self._operation.cancel()
        return self._ended

    def _end(self, result: Failure | int | None) -> None:
        self._result = result
        self._ended.callback(None)
        with suppress(ReactorNotRunning):
            self.reactor.stop()

    def outcome(self) -> int:
        if isinstance(self._result, Failure):
            # A reactor that stops has the store close itself.
            if self._signal_number and self._result.check(CancelledError, ClosedError):
                raise Interrupted(self._signal_number) from self._result.value
            self._result.raiseException()
        return self._result or 0
