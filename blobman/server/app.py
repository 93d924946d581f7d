"""The server put together: a site, and a service that listens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.web.resource import Resource

from .auth import TokenFile, make_portal
from .filesystem import FilesystemBackend
from .resource import BlobsResource
from .site import BlobsSite
from .storage import IBlobsBackend
from .streams import StreamResource

Ports = list[IListeningPort]

IDLE_TIMEOUT = 60.0
"""Seconds without a byte after which a connection is closed."""

GRACE = 10.0
"""Seconds that requests under way get to end when the server stops."""


def make_site(
    backend: IBlobsBackend,
    tokens: TokenFile,
    reactor: Any = None,
    idle_timeout: float = IDLE_TIMEOUT,
) -> BlobsSite:
    """
    Put the resources of the server together.

    :param backend: has been opened.
    :param reactor: the global one if None.
    :param idle_timeout: seconds without a byte after which a connection is closed.
    """
    if reactor is None:
        from twisted.internet import reactor
    portal = make_portal(tokens, reactor)
    root = Resource()
    root.putChild(b"blobs", BlobsResource(portal, backend))
    root.putChild(b"stream", StreamResource(portal, backend))
    return BlobsSite(root, idle_timeout, reactor)


class BlobsService(Service):
    """
    A server: opens the folder, listens, and stops without losing anything.

    :param data: the data folder.
    :param tokens: the token file.
    :param listen: endpoint descriptions, such as ``tcp:8080:interface=127.0.0.1``.
    :param reactor: the global one if None.
    :param grace: seconds that requests under way get to end when the server stops.
    :ivar ports: what it listens on, in the order of ``listen``; empty before and after.
    """

    _log = Logger()

    def __init__(
        self,
        data: str,
        tokens: str,
        listen: Sequence[str],
        reactor: Any = None,
        grace: float = GRACE,
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self._reactor = reactor
        self._grace = grace
        self._endpoints = [serverFromString(reactor, it) for it in listen]
        self._backend = FilesystemBackend(data, reactor)
        self._site = make_site(self._backend, TokenFile(tokens), reactor)
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
            for endpoint in self._endpoints:
                self.ports.append(await endpoint.listen(self._site))
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
        Stop: no new connections; what is under way gets its time.

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
        await self._site.end_connections(self._grace)
        await self._backend.close()
