"""
Processes that do what they are told: a line of JSON for each call, and one for its answer.

:class:`Worker` is the end that tells, without Twisted; :func:`answer_calls` is the other end, a
reactor.
"""

from __future__ import annotations

import json
import subprocess
import sys
from types import TracebackType
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.protocol import connectionDone
from twisted.internet.stdio import StandardIO
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure


class Worker:
    """
    A process of its own, which runs a module of this package.

    It starts at once; the first call waits until it has.
    """

    def __init__(self, module: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.{module}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def call(self, method: str, *arguments: Any) -> Any:
        """
        Have it call a method.

        :return: what that returns, or what its Deferred fires with.
        :raise RuntimeError: it failed.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([method, *arguments]) + "\n")
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"error": "the process ended"}
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]


class _Answering(LineOnlyReceiver):
    delimiter = b"\n"
    MAX_LENGTH = 1 << 20

    def __init__(self, reactor: Any, target: object) -> None:
        self._reactor = reactor
        self._target = target

    def lineReceived(self, line: bytes) -> None:
        name, *arguments = json.loads(line)
        answer: Deferred[Any] = maybeDeferred(getattr(self._target, name), *arguments)
        answer.addCallbacks(lambda result: {"result": result}, _as_error)
        answer.addCallback(self._answer)

    def _answer(self, answer: dict[str, Any]) -> None:
        self.sendLine(json.dumps(answer).encode())  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._reactor.running:
            self._reactor.stop()


def _as_error(failure: Failure) -> dict[str, str]:
    return {"error": failure.getTraceback()}


def answer_calls(target: object) -> None:
    """Run the reactor, and call an object's methods as told, until there will be no more."""
    from twisted.internet import reactor

    # A server keeps its log in a file, not in memory as Twisted does before logging begins.
    warnings = LogLevelFilterPredicate(LogLevel.warn)
    observer = FilteringLogObserver(textFileLogObserver(sys.stderr), [warnings])
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)
    StandardIO(_Answering(reactor, target))
    reactor.run()
