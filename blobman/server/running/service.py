"""The service: a backend, the sites before it, and what they listen on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from twisted.application.service import Service
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, fail, gatherResults, maybeDeferred, succeed
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.logger import Logger

from ...clocks import steady_clock
from ..accounts.interface import IAccounts
from ..http.connections import Connections
from ..http.limits import Limits
from ..http.site import BlobsSite
from ..storage.interface import IBlobsBackend
from .sites import (
    DEFAULT_LIMITS,
    make_incoming_site,
    make_metrics_site,
    make_site,
    reactor_or_global,
)

Ports = list[IListeningPort]

GRACE = 10.0
"""Seconds that requests under way get to end when the server stops."""


class Accounts(NamedTuple):
    """
    Who may come in.

    :ivar users: those of users.
    :ivar services: those of services that deliver; None if none do.
    """

    users: IAccounts
    services: IAccounts | None = None


class Listeners(NamedTuple):
    """
    What a server listens on.

    :ivar users: for ``/blobs/`` and ``/stream/``.
    :ivar services: for ``/incoming/``.
    :ivar metrics: for ``/metrics``, which anybody may read.
    """

    users: Sequence[IStreamServerEndpoint]
    services: Sequence[IStreamServerEndpoint] = ()
    metrics: Sequence[IStreamServerEndpoint] = ()


def address_text(port: IListeningPort) -> str:
    """Write where a port listens: ``127.0.0.1:8080``, ``[::1]:8080`` or ``unix:/run/socket``."""
    address: Any = port.getHost()
    if isinstance(address, UNIXAddress):
        return f"unix:{os.fsdecode(address.name or b'')}"
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{host}:{address.port}"


class BlobsService(Service):
    """
    A server: opens its backend, listens, and stops without losing anything.

    :param backend: is opened at the start, and closed at the end.
    :param limits: what clients can't exceed.
    :param reactor: the global one if None.
    :param grace: seconds that requests under way get to end when the server stops.
    :ivar backend: the same.
    :ivar ports: what it listens on: for users, for services, for metrics, each in its order; empty
        before and after.
    :raise ValueError: there are listeners for services, and no accounts for them.
    :raise ImportError: there are listeners for metrics, and ``blobman[server]`` is not installed.
    """

    _log = Logger()

    def __init__(
        self,
        backend: IBlobsBackend,
        accounts: Accounts,
        listeners: Listeners,
        limits: Limits = DEFAULT_LIMITS,
        reactor: Any = None,
        grace: float = GRACE,
    ) -> None:
        self._reactor = reactor = reactor_or_global(reactor)
        self._grace = grace
        self.backend = backend
        self._endpoints = _sites(backend, accounts, listeners, limits, reactor)
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
        await self.backend.open()
        try:
            for site, endpoint in self._endpoints:
                self.ports.append(await endpoint.listen(site))
        except BaseException:
            await self._end()
            raise
        for port in self.ports:
            self._log.info("Listening on {address}", address=address_text(port))

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
        await self.backend.close()


def _sites(
    backend: IBlobsBackend, accounts: Accounts, listeners: Listeners, limits: Limits, reactor: Any
) -> list[tuple[BlobsSite, IStreamServerEndpoint]]:
    """Pair each endpoint with the site that it leads to."""
    connections = Connections(limits.connections, steady_clock(reactor))
    users = make_site(backend, accounts.users, reactor, limits, connections)
    sites = [users]
    pairs = [(users, endpoint) for endpoint in listeners.users]
    if listeners.services:
        if accounts.services is None:
            raise ValueError("a listener for services needs accounts for them")
        services = make_incoming_site(backend, accounts.services, reactor, limits, connections)
        sites.append(services)
        pairs += [(services, endpoint) for endpoint in listeners.services]
    if listeners.metrics:
        figures = make_metrics_site(sites, backend, reactor, connections)
        pairs += [(figures, endpoint) for endpoint in listeners.metrics]
    return pairs
