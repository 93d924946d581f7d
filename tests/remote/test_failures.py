"""Servers that can't be reached, or say nothing: the message names them."""

from __future__ import annotations

import errno
import os
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHostnameResolver, IHostResolution, IResolutionReceiver
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from zope.interface import directlyProvides, implementer, providedBy

from blobman import RetriableTransferError

from .listening import ListeningTestCase, Recorder

_reactor: Any = reactor


class Silent(Factory[Protocol]):
    """
    Says nothing.

    :ivar spoken_to: fires when something has come.
    """

    noisy = False

    def __init__(self) -> None:
        self.spoken_to: Deferred[None] = Deferred()

    def buildProtocol(self, address: object) -> Protocol:
        return _Silence(self.spoken_to)


class _Silence(Protocol):
    def __init__(self, spoken_to: Deferred[None]) -> None:
        self._spoken_to = spoken_to

    def dataReceived(self, data: bytes) -> None:
        if not self._spoken_to.called:
            self._spoken_to.callback(None)


class TimedReactor:
    """The reactor, but that its time goes by a clock."""

    def __init__(self, clock: Clock) -> None:
        self.callLater = clock.callLater
        self.seconds = clock.seconds
        directlyProvides(self, providedBy(reactor))

    def __getattr__(self, name: str) -> Any:
        return getattr(_reactor, name)


@implementer(IHostnameResolver)
class NothingIsThere:
    """Finds no host."""

    def resolveHostName(
        self, resolutionReceiver: IResolutionReceiver, hostName: str, *args: Any, **more: Any
    ) -> IHostResolution:
        resolution: Any = object()
        resolutionReceiver.resolutionBegan(resolution)
        resolutionReceiver.resolutionComplete()
        return resolution  # type: ignore[no-any-return]


class SilenceTests(ListeningTestCase):
    async def test_a_server_that_says_nothing(self) -> None:
        for scheme in ("http", "https"):
            clock = Clock()
            silent = Silent()
            port = await self.listen(silent)
            url = f"{scheme}://localhost:{port}/blobs/"
            manager = self.manager(port, remote=url, reactor=TimedReactor(clock), idle_timeout=7)
            asked = manager.count()
            await silent.spoken_to
            clock.advance(6.9)
            self.assertNoResult(asked)
            clock.advance(0.1)
            with self.assertRaises(RetriableTransferError) as caught:
                await asked
            self.assertEqual(
                str(caught.exception), f"count: localhost:{port}: nothing moved for 7 seconds"
            )

    async def test_a_host_that_is_not_found(self) -> None:
        _reactor.installNameResolver(NothingIsThere())
        with self.assertRaises(RetriableTransferError) as caught:
            await self.manager(1234, "blobs.example").count()
        self.assertEqual(
            str(caught.exception),
            "count: blobs.example:1234: the address of this host was not found",
        )

    async def test_nobody_listens(self) -> None:
        port = await self.listen(Silent())
        await self.stop_listening()
        with self.assertRaises(RetriableTransferError) as caught:
            await self.manager(port).count()
        self.assertEqual(
            str(caught.exception), f"count: 127.0.0.1:{port}: {os.strerror(errno.ECONNREFUSED)}"
        )

    async def test_a_connection_that_is_closed(self) -> None:
        port = await self.listen(Recorder(answer=b""))
        with self.assertRaises(RetriableTransferError) as caught:
            await self.manager(port, remote=f"http://127.0.0.1:{port}/blobs/").count()
        self.assertEqual(
            str(caught.exception), f"count: 127.0.0.1:{port}: the connection was closed"
        )
