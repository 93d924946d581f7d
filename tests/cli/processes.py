"""``blobman`` in processes of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

import blobman

ROOT = os.path.dirname(os.path.dirname(blobman.__file__))


class Process(ProcessProtocol):
    """
    A process that has been started.

    :ivar out: what it has written to standard output.
    :ivar err: what it has written to standard error.
    :ivar ended: fires with its exit code; minus the signal's number, if one ended it.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        environment: dict[str, str],
        path: str | None = None,
        inherit: bool = True,
    ) -> None:
        """
        Start Python.

        :param path: the working folder, if it is another one.
        :param inherit: whether it gets the variables of this process, too.
        """
        self.out = b""
        self.err = b""
        self.ended: Deferred[int] = Deferred()
        self._wanted: list[tuple[bytes, Deferred[None]]] = []
        every: Any = reactor
        command = [sys.executable, *arguments]
        inherited = {**os.environ, "PYTHONPATH": ROOT} if inherit else {}
        self.process = every.spawnProcess(
            self, sys.executable, command, {**inherited, **environment}, path
        )

    def when_written(self, text: bytes) -> Deferred[None]:
        """Fire when it has written that, to either."""
        written: Deferred[None] = Deferred()
        self._wanted.append((text, written))
        self._look()
        return written

    def _look(self) -> None:
        for wanted in list(self._wanted):
            text, written = wanted
            if text in self.out + self.err:
                self._wanted.remove(wanted)
                written.callback(None)

    def kill(self) -> None:
        """End it, if it has not ended: so that a test that fails leaves nothing behind."""
        with suppress(ProcessExitedAlready):
            self.process.signalProcess("KILL")

    def outReceived(self, data: bytes) -> None:
        self.out += data
        self._look()

    def errReceived(self, data: bytes) -> None:
        self.err += data
        self._look()

    def processEnded(self, reason: Failure) -> None:
        status: Any = reason.value
        code = -status.signal if status.signal else status.exitCode
        for text, written in self._wanted:
            written.errback(AssertionError(f"it ended without {text!r}: {self.err!r}"))
        self.ended.callback(code)
