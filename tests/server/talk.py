"""A client that says byte by byte what it is told to."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure


class Talk(Protocol):
    """A client that sends just what it is told, and can wait for an answer to contain something."""

    def __init__(self) -> None:
        self.received = b""
        self.closed: Deferred[bytes] = Deferred()
        self._awaited: tuple[bytes, Deferred[bytes]] | None = None

    def send(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)

    def abort(self) -> Deferred[bytes]:
        """Break off; fires with all that was received."""
        if not self.closed.called:
            transport: Any = self.transport
            transport.abortConnection()
        return self.closed

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self._look()

    def _look(self) -> None:
        if self._awaited and self._awaited[0] in self.received:
            (_, deferred), self._awaited = self._awaited, None
            deferred.callback(self.received)

    def until(self, text: bytes) -> Deferred[bytes]:
        deferred: Deferred[bytes] = Deferred()
        self._awaited = (text, deferred)
        self._look()
        return deferred

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self.closed.callback(self.received)
