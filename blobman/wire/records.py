"""Records of TLS, which are small, handed over together."""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure

from .tls import explain


class RecordsGatherer(Protocol):
    """
    Stands between TLS and the protocol above it.

    TLS gives each record, 16 KiB at most, by itself, and each would go through all the layers of a
    response. Here those that one read of the socket brings become one piece.
    """

    def __init__(self, tls: ProtocolWrapper) -> None:
        """
        Take the place between them.

        :param tls: the upper end of TLS, connected.
        """
        self._tls: Any = tls
        self._above: Any = tls.wrappedProtocol
        self._receive = tls.dataReceived
        self._pieces: list[bytes] = []
        tls.wrappedProtocol = self
        tls.dataReceived = self._read  # type: ignore[method-assign]

    def _read(self, data: bytes) -> None:
        """Take what the socket gave: sealed records, not all of them whole."""
        self._receive(data)  # type: ignore[no-untyped-call]
        self._hand_over()

    def dataReceived(self, data: bytes) -> None:
        """Take the content of a record."""
        self._pieces.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Hand over the last records, and then the end, in TLS's words if that is why."""
        reason = explain(self._tls.getHandle(), reason)
        # Both hold each other: that should not wait for the garbage collector.
        del self._tls.dataReceived
        try:
            self._hand_over()
        finally:
            self._above.connectionLost(reason)

    def _hand_over(self) -> None:
        pieces, self._pieces = self._pieces, []
        if pieces:
            self._above.dataReceived(pieces[0] if len(pieces) == 1 else b"".join(pieces))
