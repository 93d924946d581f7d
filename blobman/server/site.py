"""
The site and its connections: HTTP/1.1 only, with limits, and an orderly end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import connectionDone
from twisted.web.http import HTTPChannel
from twisted.web.http import Request as HTTPRequest
from twisted.web.server import Site

from .request import BlobsRequest

if TYPE_CHECKING:
    from twisted.python.failure import Failure
    from twisted.web.resource import IResource


class BlobsChannel(HTTPChannel):
    """A connection."""

    site: BlobsSite

    def connectionMade(self) -> None:
        """Be known to the site."""
        self.site.channels.add(self)
        super().connectionMade()  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Be forgotten by the site."""
        super().connectionLost(reason)  # type: ignore[no-untyped-call]
        self.site.forget(self)

    def loseConnection(self) -> None:
        """Close; and break off if the other side does not let it happen in time."""
        if self._abortingCall is None and self.abortTimeout is not None:
            clock: Any = self.site.reactor
            self._abortingCall = clock.callLater(self.abortTimeout, self.forceAbortClient)
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


class BlobsSite(Site):
    """
    A site whose requests read their bodies as they come.

    :param resource: the root of the tree.
    :param idle_timeout: seconds without a byte after which a connection is closed.
    :param reactor: an ``IReactorTime``.
    :ivar channels: the open connections.
    """

    # Not the stock one, which would speak HTTP/2 where ``h2`` is installed.
    protocol = BlobsChannel  # type: ignore[assignment]
    displayTracebacks = False

    def __init__(self, resource: IResource, idle_timeout: float, reactor: Any) -> None:
        super().__init__(  # type: ignore[no-untyped-call]
            resource, requestFactory=BlobsRequest, timeout=idle_timeout, reactor=reactor
        )
        self.channels: set[BlobsChannel] = set()
        self._emptied: Deferred[None] | None = None

    def acceptableProtocols(self) -> list[bytes]:
        """Offer HTTP/1.1 only."""
        return [b"http/1.1"]

    def log(self, request: HTTPRequest) -> None:
        """Write no line in the common format."""

    def forget(self, channel: BlobsChannel) -> None:
        """Take notice that a connection has ended."""
        self.channels.discard(channel)
        if not self.channels and self._emptied is not None:
            emptied, self._emptied = self._emptied, None
            emptied.callback(None)

    def end_connections(self, grace: float) -> Deferred[None]:
        """
        Close the connections: idle ones now, others when their request has been answered.

        :param grace: the seconds after which the rest are broken off.
        :return: fires when none is open. Called once, when no more can come.
        """
        if not self.channels:
            return succeed(None)
        emptied = self._emptied = Deferred()
        last_call = self.reactor.callLater(grace, self._abort_all)

        def settle(_: None) -> None:
            if last_call.active():
                last_call.cancel()

        for channel in list(self.channels):
            channel.retire()
        return emptied.addCallback(settle)

    def _abort_all(self) -> None:
        for channel in list(self.channels):
            channel.abort()
