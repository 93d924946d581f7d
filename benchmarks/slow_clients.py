"""
Clients that are served while others only keep connections open.

``python -m benchmarks.slow_clients`` opens 400 connections to a server that say nothing, send their
headers a byte at a time, or stop in the middle of an upload, and meanwhile lets 100 clients, each
on a connection of its own, put and get a blob of 100 kB. It prints how long that takes, and how
long without the 400.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from typing import Any

from treq.client import HTTPClient
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import LoopingCall, react
from twisted.web.client import Agent

from blobman.protocol import write_authorization
from blobman.server.accounts.tokens import TokenFile
from blobman.server.running.configuration import make_service

SLOW, SERVED, SIZE = 400, 100, 100_000


class Silent(Protocol):
    """Says nothing."""


class Trickle(Protocol):
    """Sends its headers a byte at a time."""

    def connectionMade(self) -> None:
        self._rest = b"GET /blobs/bench/x HTTP/1.1\r\nHost: localhost\r\n" * 100
        self._loop = LoopingCall(self._send)
        self._loop.start(0.1)

    def _send(self) -> None:
        assert self.transport is not None
        self.transport.write(self._rest[:1])
        self._rest = self._rest[1:]

    def connectionLost(self, reason: Any = None) -> None:
        self._loop.stop()


class Halfway(Protocol):
    """Stops in the middle of an upload."""

    def __init__(self, authorization: str, name: str) -> None:
        self._head = (
            f"PUT /blobs/bench/{name} HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: {authorization}\r\nContent-Length: {SIZE}\r\n\r\n"
        )

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self._head.encode("ascii") + b"x" * (SIZE // 2))


async def put_and_get(reactor: Any, url: str, authorization: str, name: str) -> None:
    """Do what an application does, on a new connection each time."""
    http = HTTPClient(Agent(reactor))
    headers: Any = {"authorization": authorization}
    put = await http.put(f"{url}{name}", data=b"x" * SIZE, headers=headers)
    got = await http.get(f"{url}{name}", headers=headers)
    assert put.code == got.code == 200, (put.code, got.code)
    assert len(await got.content()) == SIZE


async def serve(reactor: Any, url: str, authorization: str, prefix: str) -> float:
    """Let all clients put and get at once; give the seconds."""
    started = time.monotonic()
    working = [
        Deferred.fromCoroutine(put_and_get(reactor, url, authorization, f"{prefix}-{number}"))
        for number in range(SERVED)
    ]
    await gatherResults(working)
    return time.monotonic() - started


async def occupy(reactor: Any, port: int, tokens: TokenFile) -> list[Protocol]:
    """Open the slow connections, those in the middle of an upload for users of their own."""
    authorization = write_authorization("bench", tokens.add("bench"))
    kinds: list[Callable[[int], Protocol]] = [
        lambda _: Silent(),
        lambda _: Trickle(),
        lambda number: Halfway(authorization, f"half-{number}"),
    ]
    # A user may have only so many requests at once: most of the slow ones make none.
    made = [kinds[2 if number < 20 else number % 2](number) for number in range(SLOW)]
    for protocol in made:
        await connectProtocol(HostnameEndpoint(reactor, "127.0.0.1", port), protocol)
    return made


async def measure(reactor: Any, folder: str) -> None:
    """Serve with and without the slow ones."""
    tokens = TokenFile(os.path.join(folder, "tokens"))
    authorization = write_authorization("app", tokens.add("app"))
    data = os.path.join(folder, "data")
    service = make_service(data, tokens.path, ["tcp:0:interface=127.0.0.1"], reactor, grace=0.0)
    service.startService()
    (listening,) = await service.when_listening()
    port: int = listening.getHost().port  # type: ignore[attr-defined]
    url = f"http://127.0.0.1:{port}/blobs/app/"
    alone = await serve(reactor, url, authorization, "alone")
    slow = await occupy(reactor, port, tokens)
    beside = await serve(reactor, url, authorization, "beside")
    still = sum(1 for protocol in slow if protocol.connected)
    print(f"{SERVED} clients put and got {SIZE} bytes each:")
    print(f"  alone: {alone:.2f} s")
    print(f"  beside {still} slow connections: {beside:.2f} s, {beside / alone:.2f} times as long")
    await service.stopService()


def main(reactor: Any) -> Deferred[None]:
    """Run it in a folder that goes away."""

    async def run() -> None:
        with tempfile.TemporaryDirectory(prefix="blobman-slow-") as folder:
            await measure(reactor, folder)

    return Deferred.fromCoroutine(run())


if __name__ == "__main__":
    react(main, [])
