"""The connections that are kept: how much they move at a time, and what becomes of dead ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure
from twisted.web._newclient import RequestNotSent
from twisted.web.client import (
    HTTPConnectionPool,
    RequestTransmissionFailed,
    ResponseNeverReceived,
)
from twisted.web.iweb import IClientRequest, IResponse
from zope.interface import implementer

from ..protocol import ProtocolError
from .failures import was_cancelled
from .records import RecordsGatherer

CACHED_CONNECTION_TIMEOUT = 20
"""Seconds that an unused connection is kept: less than servers keep it, so that ours goes first."""

CACHED_CONNECTIONS = 8
"""How many unused connections are kept."""

SOCKET_PIECE = 256 * 1024
"""Bytes that a connection reads or sends in one turn of the reactor at most."""

MAX_HEAD_SIZE = 64 * 1024
"""
Bytes that may come before an answer can be read: its headers, or all of it if it comes before the
request has been sent.
"""

_NOTHING_CAME = (RequestNotSent, RequestTransmissionFailed, ResponseNeverReceived)


class DiedUnusedError(Exception):
    """
    A connection that had been kept was lost before anything of an answer came.

    It may have ended while nobody used it. The request can be made again: none of ours does
    anything else the second time, and what it answers then is for who made it to understand.

    :ivar reasons: what became of it.
    """

    def __init__(self, reason: Failure) -> None:
        super().__init__("the connection had been kept, and was lost")
        self.reasons = [reason]


class Pool(HTTPConnectionPool):
    """Keeps connections, for a time and some of them."""

    # Twisted repeats what has no body, and does not say so. Here, who makes a request repeats it.
    retryAutomatically = False
    maxPersistentPerHost = CACHED_CONNECTIONS
    cachedConnectionTimeout = CACHED_CONNECTION_TIMEOUT

    def __init__(self, reactor: Any) -> None:
        super().__init__(reactor, persistent=True)  # type: ignore[no-untyped-call]
        self.reactor = reactor

    def getConnection(self, key: object, endpoint: IStreamClientEndpoint) -> Deferred[Any]:
        """Give a connection for one request: one that is kept, or a new one."""
        connecting = _Endpoint(endpoint)
        connected: Deferred[Any] = super().getConnection(key, connecting)
        return connected.addCallback(lambda it: _Connection(it, is_new=connecting.is_used))

    def close_idle(self) -> Deferred[None]:
        """
        Close the connections that are not in use.

        :return: fires when they are closed.
        """
        # A request that has just ended gives its connection back a moment later.
        close: Callable[[], Deferred[None]] = self.closeCachedConnections
        turn: Deferred[None] = Deferred()
        self.reactor.callFromThread(turn.callback, None)
        return turn.addCallback(lambda _: close())


@implementer(IStreamClientEndpoint)
class _Endpoint:
    """
    Makes connections that move more bytes at a time than Twisted's do.

    :ivar is_used: whether it has been asked to.
    """

    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint
        self.is_used = False

    def connect(self, factory: IProtocolFactory) -> Deferred[Any]:
        self.is_used = True
        return self._endpoint.connect(factory).addCallback(_widen)


def _widen(connection: Any) -> Any:
    transport = connection.transport
    if isinstance(transport, ProtocolWrapper):  # TLS, above TCP
        RecordsGatherer(transport)
        transport = transport.transport
    transport.bufferSize = transport.SEND_LIMIT = SOCKET_PIECE
    return connection


class _Connection:
    """A connection, for one request."""

    def __init__(self, protocol: Any, is_new: bool) -> None:
        self._protocol = protocol
        self._is_new = is_new

    def request(self, request: IClientRequest) -> Deferred[IResponse]:
        """
        Make it.

        :return: as Twisted's does. Fails with ``DiedUnusedError``, too, and with ``ProtocolError``
            if more than :data:`MAX_HEAD_SIZE` bytes come before.
        """
        head = _Head(self._protocol)
        answered: Deferred[IResponse] = self._protocol.request(request)
        answered.addBoth(head.ended)
        return answered if self._is_new else answered.addErrback(_died_unused)


class _Head:
    """Takes what comes before an answer can be read. Twisted takes any number of bytes."""

    def __init__(self, protocol: Any) -> None:
        self._protocol: Any = protocol
        self._receive = protocol.dataReceived
        self._size = 0
        protocol.dataReceived = self._count

    def _count(self, data: bytes) -> None:
        self._size += len(data)
        self._receive(data)
        if self._protocol is None:
            return
        if self._size > MAX_HEAD_SIZE:
            self._protocol.transport.abortConnection()
        else:
            # Twisted waits for the body to be asked for, but gives nobody an answer that comes
            # before the request has been sent until it has all of it.
            self._protocol.transport.resumeProducing()

    def ended(self, result: IResponse | Failure) -> IResponse | Failure:
        """The answer can be read, or never will be."""
        protocol, self._protocol = self._protocol, None
        del protocol.dataReceived
        if isinstance(result, Failure) and self._size > MAX_HEAD_SIZE:
            raise ProtocolError(f"its headers are longer than {MAX_HEAD_SIZE} bytes")
        return result


def _died_unused(failure: Failure) -> Failure:
    error = failure.value
    if not isinstance(error, _NOTHING_CAME) or was_cancelled(error):
        return failure
    return Failure(DiedUnusedError(failure))
