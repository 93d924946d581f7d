"""A TCP proxy that cuts, stalls or slows connections where a test wants it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

_reactor: Any = reactor


@dataclass
class Fault:
    """
    What happens to one connection.

    :ivar after: bytes that are let through before it happens.
    :ivar upward: counted on the way to the server; else on the way back.
    :ivar action: ``cut`` (both ways, at once) or ``stall`` (nothing more gets through).
    :ivar once_up: on the way back, only what comes once so many bytes have gone up is counted.
    """

    after: int
    upward: bool
    action: str = "cut"
    once_up: int = 0


def _without_new_fields(data: bytes) -> bytes:
    """Have a request ask with query fields that no server knows. It stays as long as it is."""
    head, end, rest = data.partition(b"\r\n")
    for field in (b"changes=", b"namespaces=", b"limit=", b"wait="):
        head = head.replace(field, b"x" * (len(field) - 1) + b"=")
    return head + end + rest


class _Side(Protocol):
    """One end of a proxied connection."""

    def __init__(self, proxy: Proxy, fault: Fault | None, upward: bool) -> None:
        self.proxy = proxy
        self.fault = fault if fault is not None and fault.upward == upward else None
        self.passed = 0
        self.total = 0
        self.waiting = bytearray()
        self.other: _Side | None = None
        self.stalled = False
        self.upward = upward
        self.piece = proxy.piece

    def connectionMade(self) -> None:
        self.proxy.sides.add(self)

    def dataReceived(self, data: bytes) -> None:
        if self.stalled:
            return
        self.waiting += data
        if self.other is not None:
            self.forward()

    def forward(self) -> None:
        while self.waiting and not self.stalled and self.other is not None:
            room = len(self.waiting)
            if self.fault is not None and self.counts(self.fault):
                room = min(room, self.fault.after - self.passed)
                if room <= 0:
                    self.strike(self.fault.action)
                    return
            if self.piece:
                room = min(room, self.piece)
            data = bytes(self.waiting[:room])
            del self.waiting[:room]
            if self.proxy.is_old and self.upward:
                data = _without_new_fields(data)
            self.total += room
            if self.fault is not None and self.counts(self.fault):
                self.passed += room
            self.other.transport.write(data)  # type: ignore[union-attr]
            if self.piece:
                _reactor.callLater(0, self.forward)
                return

    def counts(self, fault: Fault) -> bool:
        return self.upward or (self.other is not None and self.other.total >= fault.once_up)

    def strike(self, action: str) -> None:
        if action == "cut":
            self.abort()
            if self.other is not None:
                self.other.abort()
        else:
            self.stalled = True
            if self.other is not None:
                self.other.stalled = True
            self.transport.pauseProducing()  # type: ignore[union-attr]
        self.proxy.struck(action)

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abortConnection()  # type: ignore[attr-defined]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.proxy.sides.discard(self)
        if self.other is not None and not self.stalled:
            self.other.transport.loseConnection()  # type: ignore[union-attr]
        elif self.other is not None:
            self.other.abort()


class Proxy(Factory):
    """
    Passes connections on to a port of this machine.

    :ivar faults: each new connection takes the next one; None lets it be.
    :ivar piece: if not 0, bytes that get through in one turn of the reactor.
    :ivar connections: how many there have been.
    :ivar is_old: the server seems to be one that does not know of changes and namespaces.
    """

    noisy = False

    def __init__(self, target: int) -> None:
        self.target = target
        self.faults: list[Fault | None] = []
        self.piece = 0
        self.is_old = False
        self.connections = 0
        self.strikes: list[str] = []
        self.sides: set[_Side] = set()
        self._watchers: list[Deferred[None]] = []
        self._listening: Any = None
        self.port = 0

    async def start(self) -> None:
        endpoint = TCP4ServerEndpoint(_reactor, 0, interface="127.0.0.1")
        listening = await endpoint.listen(self)
        self._listening = listening
        self.port = listening.getHost().port

    async def stop(self) -> None:
        if self._listening is not None:
            await maybeDeferred(self._listening.stopListening)
        for side in list(self.sides):
            side.abort()

    def buildProtocol(self, addr: IAddress | None) -> _Side:
        self.connections += 1
        fault = self.faults.pop(0) if self.faults else None
        client = _Side(self, fault, upward=True)
        server = _Side(self, fault, upward=False)
        connecting = Deferred.fromCoroutine(self._connect(client, server))
        connecting.addErrback(lambda _: client.abort())
        return client

    async def _connect(self, client: _Side, server: _Side) -> None:
        factory = Factory.forProtocol(lambda: server)
        factory.noisy = False
        await TCP4ClientEndpoint(_reactor, "127.0.0.1", self.target).connect(factory)
        client.other, server.other = server, client
        client.forward()

    def client_ends(self) -> list[_Side]:
        """The clients that are still connected, as far as is known; the next turn knows more."""
        ends = [side for side in self.sides if side.upward]
        for side in ends:
            # While nothing is read, an end is not seen either.
            side.transport.resumeProducing()  # type: ignore[union-attr]
        return ends

    def struck(self, action: str) -> None:
        self.strikes.append(action)
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            watcher.callback(None)

    def next_strike(self) -> Deferred[None]:
        watcher: Deferred[None] = Deferred()
        self._watchers.append(watcher)
        return watcher
