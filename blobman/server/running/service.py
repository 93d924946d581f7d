"""The server put together: a site, and a service that listens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, gatherResults, maybeDeferred, succeed
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger

from ...clocks import steady_clock
from ..accounts.admission import Admission
from ..accounts.portal import make_portal
from ..accounts.tokens import TokenFile
from ..filesystem import FilesystemBackend
from ..http.blobs import BlobsResource
from ..http.connections import Connections
from ..http.health import HealthResource, Root
from ..http.incoming import IncomingResource
from ..http.limits import Limits
from ..http.site import BlobsSite
from ..http.stream import StreamResource
from ..storage import IBlobsBackend
from .endpoints import make_endpoint, make_private_endpoint

Ports = list[IListeningPort]

DEFAULT_LIMITS = Limits()

GRACE = 10.0
"""Seconds that requests under way get to end when the server stops."""

BACKLOG = 16 * 1024 * 1024
"""Bytes of small blobs that may wait in memory, and in the journal, until their files are made."""


def make_site(
    backend: IBlobsBackend,
    tokens: TokenFile,
    reactor: Any = None,
    limits: Limits = DEFAULT_LIMITS,
    connections: Connections | None = None,
) -> BlobsSite:
    """
    Make the site of users: ``/blobs/``, ``/stream/`` and ``/health``.

    :param backend: has been opened.
    :param reactor: the global one if None.
    :param limits: what clients can't exceed.
    :param connections: counts those of all sites of a server; of this one alone if None.
    """
    reactor = _reactor_or_global(reactor)
    portal, admission = make_portal(tokens, reactor), Admission(limits.requests, limits.lists)
    root = Root(
        blobs=BlobsResource(portal, admission, backend),
        stream=StreamResource(portal, admission, backend),
        health=HealthResource(backend, steady_clock(reactor)),
    )
    return BlobsSite(root, limits, reactor, connections)


def make_incoming_site(
    backend: IBlobsBackend,
    tokens: TokenFile,
    reactor: Any = None,
    limits: Limits = DEFAULT_LIMITS,
    connections: Connections | None = None,
) -> BlobsSite:
    """
    Make the site of trusted local services: ``/incoming/`` and ``/health``.

    :param tokens: those of the services, not of users.
    """
    reactor = _reactor_or_global(reactor)
    portal, admission = make_portal(tokens, reactor), Admission(limits.requests, limits.lists)
    root = Root(
        incoming=IncomingResource(portal, admission, backend),
        health=HealthResource(backend, steady_clock(reactor)),
    )
    return BlobsSite(root, limits, reactor, connections)


def make_metrics_site(
    sites: Sequence[BlobsSite], reactor: Any = None, connections: Connections | None = None
) -> BlobsSite:
    """
    Make the site of ``/metrics``, about the requests to other sites. It asks for no token.

    :raise ImportError: the extra ``blobman[server]`` is not installed.
    """
    from .metrics import Metrics, MetricsResource

    metrics = Metrics(lambda: sum(len(site.channels) for site in sites))
    for site in sites:
        site.observers.append(metrics.observe)
    return BlobsSite(
        Root(metrics=MetricsResource(metrics)),
        DEFAULT_LIMITS,
        _reactor_or_global(reactor),
        connections,
    )


def _reactor_or_global(reactor: Any) -> Any:
    if reactor is None:
        from twisted.internet import reactor
    return reactor


class BlobsService(Service):
    """
    A server: opens the folder, listens, and stops without losing anything.

    :param data: the data folder.
    :param tokens: the token file.
    :param listen: endpoint descriptions, such as ``tcp:8080:interface=127.0.0.1``.
    :param reactor: the global one if None.
    :param grace: seconds that requests under way get to end when the server stops.
    :param limits: what clients can't exceed.
    :param incoming: endpoint descriptions for ``/incoming/``. One that names no interface is on
        loopback.
    :param incoming_tokens: the token file of the services that deliver there.
    :param metrics: endpoint descriptions for ``/metrics``; needs ``blobman[server]``. One that
        names no interface is on loopback.
    :param backlog: how many bytes of small blobs may wait in memory, and in the journal, until
        their files are made; 0 to have all files made at once.
    :ivar ports: what it listens on, those of ``listen`` first, then ``incoming``, then
        ``metrics``, each in its order; empty before and after.
    :raise ValueError: an endpoint description is wrong, or names a key that can't be read; or
        ``incoming`` is given and ``incoming_tokens`` is not.
    :raise ImportError: ``metrics`` is given, and ``blobman[server]`` is not installed.
    """

    _log = Logger()

    def __init__(
        self,
        data: str,
        tokens: str,
        listen: Sequence[str],
        reactor: Any = None,
        grace: float = GRACE,
        limits: Limits = DEFAULT_LIMITS,
        incoming: Sequence[str] = (),
        incoming_tokens: str = "",
        metrics: Sequence[str] = (),
        backlog: int = BACKLOG,
    ) -> None:
        if incoming and not incoming_tokens:
            raise ValueError("a listener for incoming needs its own token file")
        self._reactor = reactor = _reactor_or_global(reactor)
        self._grace = grace
        self._backend = FilesystemBackend(data, reactor, backlog=backlog)
        connections = Connections(limits.connections, steady_clock(reactor))
        users = make_site(self._backend, TokenFile(tokens), reactor, limits, connections)
        listeners = [(users, make_endpoint(reactor, "listen", it)) for it in listen]
        if incoming:
            services = TokenFile(incoming_tokens)
            deliveries = make_incoming_site(self._backend, services, reactor, limits, connections)
            listeners += [
                (deliveries, make_private_endpoint(reactor, "incoming", it)) for it in incoming
            ]
        if metrics:
            sites = list(dict(listeners))
            figures = make_metrics_site(sites, reactor, connections)
            listeners += [
                (figures, make_private_endpoint(reactor, "metrics", it)) for it in metrics
            ]
        self._endpoints = listeners
        self._starting: Deferred[None] = succeed(None)
        self._outcome: Ports | Exception | None = None
        self._waiting: list[Deferred[Ports]] = []
        self.ports: Ports = []

    def startService(self) -> None:
        """Begin; see :meth:`when_listening` for how that went."""
        super().startService()  # type: ignore[no-untyped-call]
        self._outcome = None
        self._starting = Deferred.fromCoroutine(self._try_to_start())

    async def _try_to_start(self) -> None:
        try:
            await self._start()
        except Exception as error:
            self._log.error("The server did not start: {reason}", reason=str(error))
            self._outcome = error
        else:
            self._outcome = self.ports
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            self.when_listening().chainDeferred(deferred)

    async def _start(self) -> None:
        await self._backend.open()
        try:
            for site, endpoint in self._endpoints:
                self.ports.append(await endpoint.listen(site))
        except BaseException:
            await self._end()
            raise
        for port in self.ports:
            self._log.info("Serving blobs on {address}", address=port.getHost())

    def when_listening(self) -> Deferred[Ports]:
        """
        Wait for the start.

        :return: fires with the ports (``IListeningPort``). Fails with ``CannotListenError`` if
            one is taken, ``StoreError`` if another server has the folder, or ``OSError``.
        """
        if isinstance(self._outcome, Exception):
            return fail(self._outcome)
        if self._outcome is not None:
            return succeed(self._outcome)
        waiting: Deferred[Ports] = Deferred()
        self._waiting.append(waiting)
        return waiting

    def stopService(self) -> Deferred[None]:
        """
        Stop: no new connections; what is under way gets its time. It may be called again meanwhile.

        :return: fires when all is closed.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await self._starting
        await self._end()

    async def _end(self) -> None:
        ports, self.ports = self.ports, []
        for port in ports:
            await maybeDeferred(port.stopListening)
        sites = {site for site, _ in self._endpoints}
        await gatherResults([site.end_connections(self._grace) for site in sites])
        await self._backend.close()
