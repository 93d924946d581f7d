"""The site: its connections and limits, and an orderly end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed
from twisted.web.http import Request as HTTPRequest
from twisted.web.server import Site

from ...clocks import steady_clock
from .access import Observer, Report, log_report
from .channel import BlobsChannel
from .connections import Connections
from .limits import Limits
from .request import BlobsRequest
from .waiting import Waiting

if TYPE_CHECKING:
    from twisted.web.resource import IResource


class BlobsSite(Site):
    """
    A site whose requests read their bodies as they come.

    :param resource: the root of the tree.
    :param limits: what clients can't exceed.
    :param reactor: for the time, and for threads.
    :param connections: counts those of all sites of a server; of this one alone if None.
    :ivar clock: for timeouts. Twisted knows it as the site's reactor.
    :ivar main_reactor: whose threads there are.
    :ivar channels: the open connections.
    :ivar waiting: where requests wait for changes.
    :ivar observers: called with a :class:`~blobman.server.http.access.Report` of each request.
    """

    # Not the stock one, which would speak HTTP/2 where ``h2`` is installed.
    protocol = BlobsChannel  # type: ignore[assignment]
    displayTracebacks = False
    noisy = False

    def __init__(
        self,
        resource: IResource,
        limits: Limits,
        reactor: Any,
        connections: Connections | None = None,
    ) -> None:
        self.clock = steady_clock(reactor)
        super().__init__(  # type: ignore[no-untyped-call]
            resource, requestFactory=BlobsRequest, timeout=limits.idle, reactor=self.clock
        )
        self.main_reactor = reactor
        self.limits = limits
        self.connections = connections or Connections(limits.connections, self.clock)
        self.channels: set[BlobsChannel] = set()
        self.waiting = Waiting(self.clock, limits.waiting, self.connections.most_waiting)
        self.observers: list[Observer] = [log_report]
        self._ending: list[Deferred[None]] = []

    def acceptableProtocols(self) -> list[bytes]:
        """Offer HTTP/1.1 only."""
        return [b"http/1.1"]

    def startFactory(self) -> None:
        """Begin with no log, and no clock for its lines."""
        self.waiting.begin()

    def log(self, request: HTTPRequest) -> None:
        """Write no line in the common format."""

    def report(self, report: Report) -> None:
        """Tell the observers what became of a request."""
        for observer in self.observers:
            observer(report)

    def forget(self, channel: BlobsChannel) -> None:
        """Take notice that a connection has ended."""
        self.channels.discard(channel)
        if not self.channels:
            ending, self._ending = self._ending, []
            for ended in ending:
                ended.callback(None)

    def end_connections(self, grace: float) -> Deferred[None]:
        """
        Close the connections: idle ones now, others when their request has been answered. Those
        that wait for changes are answered at once.

        :param grace: the seconds after which the rest are broken off.
        :return: fires when none is open. Call it when no more can come.
        """
        self.waiting.end()
        if not self.channels:
            return succeed(None)
        ended: Deferred[None] = Deferred()
        self._ending.append(ended)
        last_call = self.clock.callLater(grace, self._abort_all)

        def settle(_: None) -> None:
            if last_call.active():
                last_call.cancel()

        for channel in list(self.channels):
            channel.retire()
        return ended.addCallback(settle)

    def _abort_all(self) -> None:
        for channel in list(self.channels):
            channel.abort()
