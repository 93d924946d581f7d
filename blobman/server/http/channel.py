"""A connection: HTTP/1.1 only, what it refuses by itself, and whose turn it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper
from twisted.web.http import HTTPChannel
from twisted.web.http import Request as HTTPRequest

from .access import UNKNOWN, Report, peer_of
from .connections import Connections
from .limits import Limits
from .waiting import Waiting

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime
    from twisted.python.failure import Failure
    from twisted.web.http_headers import Headers

LONGEST_LENGTH = 20
"""Digits of a Content-Length."""

PIPELINED = 8
"""How many requests of one connection are answered in one turn of the reactor at most."""

SOCKET_PIECE = 256 * 1024
"""Bytes that a connection reads or sends in one turn of the reactor at most."""


class ChannelSite(Protocol):
    """
    What a connection asks of its site; see :class:`~blobman.server.http.site.BlobsSite`.

    :ivar clock: for timeouts.
    :ivar main_reactor: whose threads there are.
    """

    clock: IReactorTime
    main_reactor: Any
    limits: Limits
    connections: Connections
    channels: set[BlobsChannel]
    waiting: Waiting

    def report(self, report: Report) -> None:
        """Tell what became of a request."""

    def forget(self, channel: BlobsChannel) -> None:
        """Take notice that a connection has ended."""


class BlobsChannel(HTTPChannel):
    """
    A connection.

    Of requests that are sent without waiting for answers, it takes some in a turn of the reactor,
    and none while the client has yet to take earlier answers. The rest is held meanwhile.
    """

    site: ChannelSite
    # How long closing may take is for ``loseConnection`` to say.
    abortTimeout = None  # type: ignore[assignment]
    _headers_deadline: IDelayedCall | None = None
    _is_refused = False
    _is_admitted = False
    _in_a_row = 0
    _held = b""
    _next_turn: IDelayedCall | None = None

    @property
    def peer(self) -> str:
        """The address that it comes from; behind a proxy that tells it, only once it has."""
        return peer_of(self.transport)

    def connectionMade(self) -> None:
        """Be known to the site, if there is room for one more."""
        self._is_admitted = self.site.connections.enter()
        if not self._is_admitted:
            self.abort()
            return
        self.site.channels.add(self)
        _widen(self.transport)
        super().connectionMade()  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Be forgotten by the site."""
        self._stop_deadline()
        self._drop_held()
        super().connectionLost(reason)  # type: ignore[no-untyped-call]
        if self._is_admitted:
            self.site.connections.leave()
            self.site.forget(self)

    def dataReceived(self, data: bytes) -> None:
        """Take bytes; those that begin a request have to be followed by the rest of its headers."""
        if self._is_refused:
            return
        if self._held or (self._waitingForTransport and not self.requests):
            self._hold(data)
            return
        if not self.requests and self._headers_deadline is None and not self._buffer:
            # Some clients send a line end after a body, or before a request.
            data = data.lstrip(b"\r\n")
            if not data:
                return
            limit = self.site.limits.headers
            self._headers_deadline = self.site.clock.callLater(limit, self._miss_deadline)
        super().dataReceived(data)  # type: ignore[no-untyped-call]

    def lineReceived(self, line: bytes) -> None:
        """Take a line of the head; one that only continues another is a bad one."""
        if line[:1] in (b" ", b"\t"):
            self._respondToBadRequestAndDisconnect()
        if not self._is_refused:
            super().lineReceived(line)  # type: ignore[no-untyped-call]

    def allHeadersReceived(self) -> None:
        """Begin with the request, unless its head is a bad one."""
        if self._is_refused:
            return
        self._stop_deadline()
        if _is_well_framed(self._version, self.requests[-1].requestHeaders):
            super().allHeadersReceived()  # type: ignore[no-untyped-call]
        else:
            self._respondToBadRequestAndDisconnect()

    def requestDone(self, request: HTTPRequest) -> None:
        """Go on with what came behind the request, as if it came now."""
        rest = b"".join([*self._dataBuffer, self._buffer])
        self._dataBuffer, self._buffer = [], b""
        super().requestDone(request)  # type: ignore[no-untyped-call]
        if not self.persistent:
            return
        self.wait_for_client()
        self._in_a_row = self._in_a_row + 1 if rest else 0
        if self._in_a_row >= PIPELINED:
            self._hold(rest)
        elif rest:
            self.dataReceived(rest)

    def _hold(self, data: bytes) -> None:
        self._held += data
        self._networkProducer.pauseProducing()
        # It is up to the client to take answers, if that is what this waits for.
        self.setTimeout(self.site.limits.stalled)  # type: ignore[no-untyped-call]
        self._go_on_soon()

    def _go_on_soon(self) -> None:
        if self._held and self._next_turn is None and not self._waitingForTransport:
            self._next_turn = self.site.clock.callLater(0, self._go_on)

    def _go_on(self) -> None:
        self._next_turn = None
        if self._waitingForTransport:
            return
        self._in_a_row = 0
        held, self._held = self._held, b""
        self.wait_for_client()
        self._networkProducer.resumeProducing()
        self.dataReceived(held)

    def resumeProducing(self) -> None:
        """Go on, now that the client has taken what was sent."""
        super().resumeProducing()  # type: ignore[no-untyped-call]
        if self._held:
            self._networkProducer.pauseProducing()
            self._go_on_soon()

    def _drop_held(self) -> None:
        self._held = b""
        turn, self._next_turn = self._next_turn, None
        if turn is not None:
            turn.cancel()

    def wait_for_client(self) -> None:
        """Let the idle timeout run: the next bytes are up to the client."""
        self.setTimeout(self.site.limits.idle)  # type: ignore[no-untyped-call]

    def wait_for_server(self) -> None:
        """Stop the idle timeout: what the client waits for is on this side."""
        self.setTimeout(None)  # type: ignore[no-untyped-call]

    def allContentReceived(self) -> None:
        """Go on with the request, if it could be read."""
        if not self._is_refused:
            super().allContentReceived()  # type: ignore[no-untyped-call]

    def rawDataReceived(self, data: bytes) -> None:
        """Take a part of the body, if there is a request that it can belong to."""
        if not self._is_refused:
            super().rawDataReceived(data)

    def lineLengthExceeded(self, line: bytes) -> None:
        """Refuse a line that is too long."""
        self._respondToBadRequestAndDisconnect()

    def _respondToBadRequestAndDisconnect(self) -> None:
        if self._is_refused:
            return
        self._is_refused = True
        self._stop_deadline()
        if not self.requests:
            self.site.report(Report(UNKNOWN, self.peer, UNKNOWN, UNKNOWN, "", 400, 0, 0, 0.0))
        elif not self.requests[-1].refused_by_channel(400):
            # It is being answered already.
            self.loseConnection()
            return
        super()._respondToBadRequestAndDisconnect()  # type: ignore[no-untyped-call]

    def _miss_deadline(self) -> None:
        self._headers_deadline = None
        self.abort()

    def _stop_deadline(self) -> None:
        deadline, self._headers_deadline = self._headers_deadline, None
        if deadline is not None:
            deadline.cancel()

    def headerReceived(self, line: bytes) -> bool:
        """Take a header; a Content-Length that no number can be is a bad one (and no traceback)."""
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and len(value.strip()) > LONGEST_LENGTH:
            self._respondToBadRequestAndDisconnect()
            return False
        accepted: bool = super().headerReceived(line)  # type: ignore[no-untyped-call]
        return accepted

    def loseConnection(self) -> None:
        """Close, when all is sent; and break off if the other side never lets that happen."""
        self._drop_held()
        if self._abortingCall is None:
            self._abortingCall = self.site.clock.callLater(
                self.site.limits.stalled, self.forceAbortClient
            )
        super().loseConnection()  # type: ignore[no-untyped-call]

    def retire(self) -> None:
        """Close when the request that is under way has been answered, or now if none is."""
        self.persistent = False
        if not self.requests:
            self.loseConnection()

    def abort(self) -> None:
        """Break off."""
        transport: Any = self.transport
        transport.abortConnection()


def _is_well_framed(version: bytes, headers: Headers) -> bool:
    """
    Tell whether everybody between here and the client sees the same request (RFC 9112).

    There is no coding but chunked, and what HTTP/1.0 does not know, it does not send.
    """
    codings = [it.lower() for it in headers.getRawHeaders(b"transfer-encoding", [])]
    if version != b"HTTP/1.1":
        return not codings
    return codings in ([], [b"chunked"]) and len(headers.getRawHeaders(b"host", [])) == 1


def _widen(transport: Any) -> None:
    """Have a connection move more bytes at a time than Twisted's do."""
    if isinstance(transport, ProtocolWrapper):  # TLS, above TCP
        transport = transport.transport
    transport.bufferSize = transport.SEND_LIMIT = SOCKET_PIECE
