"""A server of bytes: what it says is what a test says."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from blobman import BlobManager

from ..support import KEY, SECRET, USER

_reactor: Any = reactor


class Request:
    """
    What came.

    :ivar first_line: method, path, version.
    :ivar number: how many came before it on its connection.
    """

    def __init__(self, head: bytes, body: bytes, number: int) -> None:
        self.first_line, *self.lines = head.decode("latin-1").split("\r\n")
        self.method, self.path, _ = self.first_line.split(" ")
        self.body = body
        self.number = number


Handler = Callable[["RawServer", Request], None]


class RawServer(Protocol):
    """Takes requests apart, and leaves what they are answered to the test."""

    def __init__(self, case: RawServerTestCase) -> None:
        self._case = case
        self._received = bytearray()
        self._number = 0

    def dataReceived(self, data: bytes) -> None:
        self._received += data
        while (request := self._next()) is not None:
            self._case.requests.append(request)
            self._case.handle(self, request)

    def _next(self) -> Request | None:
        head, end, rest = bytes(self._received).partition(b"\r\n\r\n")
        if not end:
            return None
        request = Request(head, b"", self._number)
        fields = (line.lower().partition(": ") for line in request.lines)
        size = next((int(value) for name, _, value in fields if name == "content-length"), 0)
        if len(rest) < size:
            return None
        request.body = rest[:size]
        self._received = bytearray(rest[size:])
        self._number += 1
        return request

    def say(self, data: bytes) -> None:
        transport: Any = self.transport
        transport.write(data)

    def answer(self, code: int, body: bytes = b"", *lines: str) -> None:
        """Answer as HTTP has it."""
        head = [f"HTTP/1.1 {code} X", f"Content-Length: {len(body)}", *lines]
        self.say("\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body)

    def close(self) -> None:
        transport: Any = self.transport
        transport.loseConnection()

    def say_and_close(self, data: bytes) -> None:
        self.say(data)
        self.close()


class RawServerTestCase(TestCase):
    """A manager whose server says what :attr:`handle` has it say."""

    def setUp(self) -> None:
        self.requests: list[Request] = []
        self.handle: Handler = lambda server, request: server.answer(200)
        factory: Any = Factory.forProtocol(lambda: RawServer(self))
        factory.noisy = False
        port = _reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.url = f"http://127.0.0.1:{port.getHost().port}/blobs/"
        self.manager = self.make_manager()

    def make_manager(self, **options: Any) -> BlobManager:
        folder = os.path.abspath(self.mktemp())
        options = {"token": "token", "jitter": lambda _: 0.0, **options}
        manager = BlobManager(folder, self.url, KEY, SECRET, USER, **options)
        self.addCleanup(manager.close)
        return manager

    def sent(self) -> list[str]:
        """The methods of what came."""
        return [request.method for request in self.requests]
