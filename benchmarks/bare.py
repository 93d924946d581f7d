"""The least that requests take: a client and a server of Twisted's that do nothing else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from io import BytesIO

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IConsumer, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import Certificate
from twisted.python.failure import Failure
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool
from twisted.web.http import HTTPChannel, HTTPFactory, Request
from twisted.web.iweb import IBodyProducer, IResponse
from zope.interface import implementer

from .calls import answer_calls
from .server import endpoint

AT_A_TIME = 3
"""Requests under way, as many as a manager has by default."""

_PIECE = memoryview(bytes(1 << 18))


@implementer(IBodyProducer, IPushProducer)
class _Body:
    """So many bytes, written as fast as they are taken."""

    def __init__(self, size: int) -> None:
        self.length = size
        self._rest = size
        self._done: Deferred[None] = Deferred()

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        self._consumer = consumer
        self.resumeProducing()
        return self._done

    def resumeProducing(self) -> None:
        self._paused = False
        while self._rest and not self._paused:
            piece = _PIECE[: self._rest]
            self._rest -= len(piece)
            self._consumer.write(bytes(piece))
        if not self._rest and not self._done.called:
            self._done.callback(None)

    def pauseProducing(self) -> None:
        self._paused = True

    def stopProducing(self) -> None:
        self._paused = True


class _Request(Request):
    """Drops what comes; the path says how many bytes to answer."""

    def gotLength(self, length: int) -> None:
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        pass

    def process(self) -> None:
        body = _Body(int(self.path[1:]))
        self.setHeader(b"content-length", b"%d" % body.length)  # type: ignore[no-untyped-call]
        self.registerProducer(body, True)  # type: ignore[no-untyped-call]
        body.startProducing(self).addCallback(self._end)

    def _end(self, _: object) -> None:
        self.unregisterProducer()  # type: ignore[no-untyped-call]
        self.finish()  # type: ignore[no-untyped-call]


class _Channel(HTTPChannel):
    requestFactory = _Request


class _Factory(HTTPFactory):
    protocol = _Channel  # type: ignore[assignment]

    def log(self, request: Request) -> None:
        pass


class Dropping(Protocol):
    """
    Drops what comes.

    :ivar ended: fires when all has come.
    """

    def __init__(self) -> None:
        self.ended: Deferred[None] = Deferred()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended.callback(None)


class Bare:
    """Either end."""

    async def listen(self, pem: str | None) -> str:
        """Be the server, with TLS if there is a key; give the address."""
        port = await serverFromString(reactor, endpoint(pem)).listen(_Factory())
        return f"{'https' if pem else 'http'}://127.0.0.1:{port.getHost().port}"

    def connect(self, url: str, ca_file: str) -> None:
        """Be the client of a server."""
        with open(ca_file, "rb") as file:
            policy = BrowserLikePolicyForHTTPS(Certificate.loadPEM(file.read()))
        pool = HTTPConnectionPool(reactor)
        pool.maxPersistentPerHost = AT_A_TIME
        self._agent = Agent(reactor, policy, pool=pool)
        self._url = url

    async def send(self, count: int, size: int) -> float:
        """Send so many bodies, and give the seconds that it took."""
        return await self._repeat(count, b"PUT", 0, size)

    async def receive(self, count: int, size: int) -> float:
        """Receive so many bodies, and give the seconds that it took."""
        return await self._repeat(count, b"GET", size, None)

    async def _repeat(self, count: int, method: bytes, wanted: int, sent: int | None) -> float:
        url = f"{self._url}/{wanted}".encode()
        numbers = iter(range(count))
        began = time.perf_counter()
        lanes = [self._requests(numbers, method, url, sent) for _ in range(AT_A_TIME)]
        await gatherResults([Deferred.fromCoroutine(lane) for lane in lanes])
        return time.perf_counter() - began

    async def _requests(
        self, numbers: Iterator[int], method: bytes, url: bytes, sent: int | None
    ) -> None:
        for _ in numbers:
            body = None if sent is None else _Body(sent)
            response: IResponse = await self._agent.request(method, url, None, body)
            answer = Dropping()
            response.deliverBody(answer)
            await answer.ended


if __name__ == "__main__":
    answer_calls(Bare())
