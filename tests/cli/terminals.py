"""Processes with a terminal that the test types on, or with none at all."""

from __future__ import annotations

import os
import pty
from collections.abc import Sequence

from twisted.internet import fdesc, reactor
from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from .processes import Process

_LEAVE_TERMINAL = "import os, sys; os.setsid(); "
_TAKE_TERMINAL = """
import fcntl, termios
descriptor = os.open(sys.argv.pop(1), os.O_RDWR)
fcntl.ioctl(descriptor, termios.TIOCSCTTY, 0)
os.dup2(descriptor, 0)
"""
_EXECUTE = "os.execvp(sys.argv[1], sys.argv[1:])"


def without_terminal(*command: str) -> list[str]:
    """Give arguments for Python that run a command to which nobody can answer."""
    return ["-c", _LEAVE_TERMINAL + _EXECUTE, *command]


class Terminal(FileDescriptor):
    """
    A terminal of 80 columns.

    :ivar said: what has been written to it, and what it has shown of what was typed.
    """

    def __init__(self) -> None:
        super().__init__(reactor)
        self.said = ""
        self._seen = 0
        self._wanted: list[tuple[str, Deferred[None]]] = []
        self._master, self._slave = pty.openpty()
        fdesc.setNonBlocking(self._master)
        self.startReading()

    def command(self, *command: str) -> list[str]:
        """Give arguments for Python that run a command on this terminal, with its input from it."""
        path = os.ttyname(self._slave)
        return ["-c", _LEAVE_TERMINAL + _TAKE_TERMINAL + _EXECUTE, path, *command]

    def fileno(self) -> int:
        return self._master

    def doRead(self) -> Exception | None:
        return fdesc.readFromFD(self._master, self._take)  # type: ignore[no-any-return]

    def _take(self, data: bytes) -> None:
        self.said += data.decode("utf-8", "replace")
        self._look()

    def _look(self) -> None:
        for text, said in list(self._wanted):
            at = self.said.find(text, self._seen)
            if at >= 0:
                self._seen = at + len(text)
                self._wanted.remove((text, said))
                said.callback(None)

    def when_said(self, text: str) -> Deferred[None]:
        """Fire when it says that, after what it said the last time."""
        said: Deferred[None] = Deferred()
        self._wanted.append((text, said))
        self._look()
        return said

    def type(self, text: str) -> None:
        """Type on it."""
        os.write(self._master, text.encode())

    async def answer(self, question: str, text: str) -> None:
        """Wait for a question, and type an answer."""
        await self.when_said(question)
        self.type(f"{text}\n")

    def close(self) -> None:
        """Hang up."""
        self.connectionLost(Failure(ConnectionError()))
        os.close(self._master)
        os.close(self._slave)


class TerminalProcess(Process):
    """A process on a terminal of its own. What it gives out is still taken from pipes."""

    def __init__(
        self,
        terminal: Terminal,
        command: Sequence[str],
        environment: dict[str, str],
        path: str | None = None,
        inherit: bool = True,
    ) -> None:
        """Start it; see ``Process``."""
        super().__init__(terminal.command(*command), environment, path, inherit)
