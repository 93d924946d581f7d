"""What stands where an object store should be, and answers what a test wants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from botocore.credentials import Credentials
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from blobman.server.storage.payloads.s3 import Bucket, S3Payloads
from blobman.server.storage.payloads.s3.signing import Signer

_reactor: Any = reactor


class Asked(NamedTuple):
    """A request that has come."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Told(NamedTuple):
    """
    An answer.

    :ivar body: may be None: then the connection is closed without one.
    :ivar is_early: it is given before the content has come, which nobody reads then.
    :ivar is_cut: it lacks its last byte.
    """

    status: int
    body: bytes | None = b""
    headers: dict[str, str] = {}  # noqa: RUF012
    is_early: bool = False
    is_cut: bool = False

    def write(self, has_body: bool) -> bytes:
        """Write it."""
        body = self.body or b""
        headers = {"content-length": str(len(body)), **self.headers}
        lines = [f"HTTP/1.1 {self.status} X"]
        lines += [f"{name}: {value}" for name, value in headers.items() if value]
        whole = "\r\n".join([*lines, "", ""]).encode("latin-1") + (body if has_body else b"")
        return whole[:-1] if self.is_cut else whole


Answer = Told | Callable[[Asked], Told] | None
"""None stands for none at all."""


def error(status: int, code: str, **headers: str) -> Told:
    """Refuse as an object store does."""
    xml = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>secret</Message></Error>"
    return Told(status, xml.encode(), {k.replace("_", "-"): v for k, v in headers.items()})


class Scripted(Factory):
    """
    Gives one answer after another; then, the last one again.

    :ivar asked: the requests that have come.
    """

    noisy = False

    def __init__(self, *answers: Answer) -> None:
        self.answers = [*answers]
        self.asked: list[Asked] = []
        self.connections: list[Connection] = []

    def buildProtocol(self, address: object) -> Connection:
        self.connections.append(Connection(self))
        return self.connections[-1]

    def take(self) -> Answer:
        """Give the next answer."""
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class Connection(Protocol):
    """
    Takes requests apart.

    :ivar lost: fires when the connection has ended.
    """

    transport: Any

    def __init__(self, scripted: Scripted) -> None:
        self.lost: Deferred[None] = Deferred()
        self._scripted = scripted
        self._received = bytearray()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(None)

    def dataReceived(self, data: bytes) -> None:
        self._received += data
        head, end, rest = bytes(self._received).partition(b"\r\n\r\n")
        if not end:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines)}
        size = int(headers.get("content-length", "0"))
        next_one = self._scripted.answers[0]
        is_early = isinstance(next_one, Told) and next_one.is_early
        if is_early or len(rest) >= size:
            self._received = bytearray(rest[size:])
            method, path, _ = first.split(" ")
            self._answer(Asked(method, path, headers, rest[:size]), is_early)

    def _answer(self, asked: Asked, is_early: bool) -> None:
        self._scripted.asked.append(asked)
        answer = self._scripted.take()
        told = answer(asked) if callable(answer) else answer
        if told is None:
            return
        if told.body is None:
            self.transport.abortConnection()
            return
        self.transport.write(told.write(asked.method != "HEAD"))
        if is_early:
            self.transport.pauseProducing()
        if told.is_cut:
            self.transport.loseConnection()


class ScriptedCase(TestCase):
    """Tests with something that answers as they say."""

    async def answering(self, *answers: Answer, **options: Any) -> tuple[S3Payloads, Scripted]:
        """Give a store of payloads that is answered so."""
        scripted = Scripted(*answers)
        port = _reactor.listenTCP(0, scripted, interface="127.0.0.1")
        self.addCleanup(self._stop, port, scripted)
        bucket = Bucket("bucket", "p/", "http", f"127.0.0.1:{port.getHost().port}", "region")
        load = options.pop("load", lambda: Credentials("key", "hidden"))
        options.setdefault("signer", Signer(reactor, bucket, load))
        options.setdefault("jitter", lambda _: 0)
        payloads = S3Payloads(bucket, reactor, **options)
        await payloads.open()
        self.addCleanup(payloads.close)
        return payloads, scripted

    async def _stop(self, port: Any, scripted: Scripted) -> None:
        for connection in scripted.connections:
            connection.transport.abortConnection()
        await port.stopListening()

    async def fails(self, kind: type[Exception], deferred: Deferred[Any]) -> Any:
        """Give the error that something fails with, which tells no secret."""
        failure: Any = await self.assertFailure(deferred, kind)
        self.assertNotIn("hidden", f"{failure!r} {failure}")
        self.assertNotIn("secret", str(failure))
        return failure
