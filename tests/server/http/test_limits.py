"""Limits against abuse, the report of each request, /health and /metrics."""

from __future__ import annotations

import resource
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, DeferredQueue
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol, serverFromString
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase

from blobman.protocol import write_authorization
from blobman.server.accounts.file import FileAccounts
from blobman.server.accounts.tokens import TokenFile
from blobman.server.http import health
from blobman.server.http.access import Report
from blobman.server.http.connections import Connections, allow
from blobman.server.http.limits import Limits
from blobman.server.http.site import BlobsSite
from blobman.server.running.sites import make_incoming_site, make_metrics_site, make_site
from blobman.server.storage.interface import Pages

from ..blobs import open_memory_backend, sealed
from ..serving import ServerMixin
from ..talk import Talk


class Wire(StringTransport):
    """A transport that ends the protocol when it is closed."""

    protocol: Any = None
    is_aborted = False

    def abortConnection(self) -> None:
        self.is_aborted = True
        self.loseConnection()

    def loseConnection(self) -> None:
        if not self.disconnecting:
            super().loseConnection()
            self.protocol.connectionLost()


class TimeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.backend = open_memory_backend()
        tokens = TokenFile(self.mktemp())
        limits = Limits(idle=60, headers=20, stalled=300)
        self.site = make_site(self.backend, FileAccounts(tokens, self.clock), self.clock, limits)
        self.addCleanup(lambda: self.assertEqual(self.clock.getDelayedCalls(), []))

    def connect(self) -> tuple[Any, Wire]:
        protocol: Any = self.site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        wire = Wire()
        wire.protocol = protocol
        protocol.makeConnection(wire)
        return protocol, wire

    def test_silence(self) -> None:
        _, wire = self.connect()
        self.clock.advance(59)
        self.assertFalse(wire.disconnecting)
        self.clock.advance(1)
        self.assertTrue(wire.disconnecting)

    def test_headers_that_trickle(self) -> None:
        for text in (b"GET /blobs/alice/ HTTP/1.1\r\n" + b"x: y\r\n" * 100, b"G" * 100):
            protocol, wire = self.connect()
            for byte in text[:20]:
                protocol.dataReceived(bytes([byte]))
                self.assertFalse(wire.disconnecting)
                self.clock.advance(1)
            self.assertTrue(wire.disconnecting)

    def test_the_next_request_has_its_own_time(self) -> None:
        protocol, wire = self.connect()
        for _ in range(5):
            protocol.dataReceived(b"GET /none HTTP/1.1\r\nHost: x\r\n")
            self.clock.advance(19)
            protocol.dataReceived(b"\r\n")
            self.clock.advance(30)
        self.assertFalse(wire.disconnecting)
        self.assertEqual(wire.value().count(b"HTTP/1.1 404"), 5)
        self.clock.advance(60)
        self.assertTrue(wire.disconnecting)

    def test_a_length_that_no_number_can_be(self) -> None:
        protocol, wire = self.connect()
        protocol.dataReceived(b"PUT /none HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n")
        self.assertTrue(wire.value().startswith(b"HTTP/1.1 400"))
        self.assertTrue(wire.disconnecting)

    def test_a_refused_body_that_trickles(self) -> None:
        for length in (800, 900_000):
            protocol, wire = self.connect()
            head = f"PUT /blobs/alice/a HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
            protocol.dataReceived(head.encode())
            for _ in range(3):
                self.assertFalse(wire.disconnecting)
                protocol.dataReceived(b"x")
                self.clock.advance(10)
            self.assertTrue(wire.disconnecting)

    def test_a_last_answer_that_nobody_takes(self) -> None:
        protocol, wire = self.connect()
        wire.loseConnection = lambda: None  # type: ignore[method-assign]
        protocol.dataReceived(b"GET /none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        self.clock.advance(299)
        self.assertFalse(wire.is_aborted)
        self.clock.advance(1)
        self.assertTrue(wire.is_aborted)
        protocol.connectionLost()


class LimitsTests(SynchronousTestCase):
    def test_what_is_no_limit(self) -> None:
        for name in ("idle", "headers", "stalled", "requests", "connections", "lists"):
            for value in (0, -1, float("nan")):
                given: dict[str, Any] = {name: value}
                self.assertRaisesRegex(ValueError, f"^{name} must", Limits, **given)
            for none in (None, "60", True):
                given = {name: none}
                self.assertRaisesRegex(TypeError, f"^{name} must", Limits, **given)


class OpenFilesTests(SynchronousTestCase):
    def setUp(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.hard = hard
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (300, hard))

    def test_as_many_as_are_wanted(self) -> None:
        allow(200)
        self.assertEqual(resource.getrlimit(resource.RLIMIT_NOFILE), (528, self.hard))
        self.assertEqual(Connections(1000, Clock()).most, 200)

    def test_no_more_than_the_system_lets_it(self) -> None:
        allow(10**9)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.assertGreater(soft, 300)
        self.assertEqual(hard, self.hard)

    def test_never_fewer(self) -> None:
        allow(1)
        self.assertEqual(resource.getrlimit(resource.RLIMIT_NOFILE), (300, self.hard))


class ConnectionsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.logged: list[LogEvent] = []
        observer = cast(ILogObserver, self.note)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def note(self, event: LogEvent) -> None:
        if event["log_namespace"].endswith("Connections"):
            self.logged.append(event)

    def connect(self, site: BlobsSite) -> Wire:
        protocol: Any = site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        wire = Wire()
        wire.protocol = protocol
        protocol.makeConnection(wire)
        return wire

    def test_no_more_than_that_at_all_sites(self) -> None:
        connections = Connections(3, self.clock)
        accounts = FileAccounts(TokenFile(self.mktemp()), self.clock)
        users, services = [
            make(open_memory_backend(), accounts, self.clock, connections=connections)
            for make in (make_site, make_incoming_site)
        ]
        admitted = [self.connect(site) for site in (users, services, users)]
        for site in (users, services):
            refused = self.connect(site)
            self.assertTrue(refused.is_aborted)
            self.assertEqual(refused.value(), b"")
        self.assertEqual((len(users.channels), len(services.channels)), (2, 1))
        admitted.pop().loseConnection()
        admitted.append(self.connect(services))
        self.assertTrue(self.connect(users).is_aborted)
        for wire in admitted:
            self.assertFalse(wire.is_aborted)
            wire.loseConnection()
        self.assertEqual((connections.open, self.clock.getDelayedCalls()), (0, []))

    def test_few_words(self) -> None:
        connections = Connections(1, self.clock)
        connections.enter()
        for _ in range(100):
            self.assertFalse(connections.enter())
        self.clock.advance(60)
        self.assertFalse(connections.enter())
        self.assertEqual([it["refused"] for it in self.logged], [1, 100])

    def test_no_more_than_files_can_be_open(self) -> None:
        for files, most in ((1024, 448), (8192, 4032), (10, 1), (resource.RLIM_INFINITY, 10_000)):
            self.patch(resource, "getrlimit", lambda _, files=files: (files, files))
            self.assertEqual(Connections(10_000, self.clock).most, most)


class RunningTests(ServerMixin, TestCase):
    site_options = {"limits": Limits(requests=2)}  # noqa: RUF012

    async def setUp(self) -> None:  # type: ignore[override]
        await self.start_server()

    async def test_too_many_at_once(self) -> None:
        gate: Deferred[None] = Deferred()
        begun: DeferredQueue[None] = DeferredQueue()
        real_list = self.backend.list

        async def list_later(*arguments: Any) -> Pages:
            begun.put(None)
            await gate
            async for page in real_list(*arguments):
                yield page

        self.patch(self.backend, "list", list_later)
        slow = [self.expect(200, "GET", "blobs/alice/") for _ in range(2)]
        for _ in slow:
            await begun.get()
        answer = await self.expect(429, "GET", "blobs/alice/")
        self.assertEqual(answer.header("Retry-After"), "1")
        await self.expect(404, "GET", "blobs/bob/a", user="bob")
        gate.callback(None)
        for request in slow:
            await request
        await self.expect(200, "GET", "blobs/alice/")

    async def test_no_more_connections_than_that(self) -> None:
        self.site.connections.most = 2
        talks = [Talk() for _ in range(5)]
        for talk in talks:
            await connectProtocol(
                HostnameEndpoint(reactor, "127.0.0.1", self.port.getHost().port), talk
            )
        for talk in talks[2:]:
            await talk.closed
        self.assertEqual(len(self.site.channels), 2)
        await talks[0].abort()
        while self.site.connections.open > 1:
            turn: Deferred[None] = Deferred()
            reactor.callLater(0, turn.callback, None)
            await turn
        await self.expect(200, "GET", "blobs/alice/")
        await talks[1].abort()

    async def test_health(self) -> None:
        answer = await self.expect(200, "GET", "health", headers={"Authorization": "none"})
        self.assertEqual(answer.body, b"ok\n")
        await self.expect(200, "HEAD", "health")
        await self.expect(405, "PUT", "health", b"x")
        await self.expect(404, "PUT", "elsewhere", b"x")
        self.patch(health, "CHECK_EVERY", 0)
        await self.backend.close()
        await self.expect(503, "GET", "health")

    async def test_one_report_for_each_request(self) -> None:
        reports: list[Report] = []
        self.site.observers.append(reports.append)
        await self.expect(200, "PUT", "blobs/alice/a", sealed())
        await self.expect(200, "GET", "blobs/alice/a")
        await self.expect(401, "PUT", "blobs/alice/b", bytes(10_000_000), token="wrong")
        self.assertEqual(
            [(it.peer, it.method, it.path, it.user, it.code, it.sent) for it in reports],
            [
                ("127.0.0.1", "PUT", "/blobs/alice/a", "alice", 200, 0),
                ("127.0.0.1", "GET", "/blobs/alice/a", "alice", 200, 800),
                ("127.0.0.1", "PUT", "/blobs/alice/b", "", 401, 24),
            ],
        )
        self.assertEqual(reports[0].received, 800)

    async def test_the_log_tells_no_token(self) -> None:
        events: list[LogEvent] = []
        observer = cast(ILogObserver, events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        await self.expect(200, "PUT", "blobs/alice/a", sealed("content"))
        await self.expect(401, "GET", "blobs/alice/a", token="a-wrong-token")
        text = str(events)
        self.assertIn("/blobs/alice/a", text)
        self.assertIn("127.0.0.1 PUT /blobs/alice/a 200", "".join(map(formatEvent, events)))
        for secret in (self.alice, "a-wrong-token", "Token ", sealed("content").decode()[:64]):
            self.assertNotIn(secret, text)
            self.assertNotIn(write_authorization("alice", "a-wrong-token"), text)

    async def test_metrics(self) -> None:
        site = make_metrics_site([self.site], self.backend)
        port = await serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(site)
        try:
            await self.expect(200, "PUT", "blobs/alice/a", sealed())
            await self.expect(404, "GET", "blobs/alice/b")
            self.port, users = port, self.port
            answer = await self.expect(200, "GET", "metrics")
            self.port = users
        finally:
            await port.stopListening()
            await self.pool.closeCachedConnections()
            await site.end_connections(0.0)
        text = answer.body.decode()
        self.assertIn('blobman_requests_total{code="200",method="PUT"} 1.0', text)
        self.assertIn('blobman_requests_total{code="404",method="GET"} 1.0', text)
        self.assertIn("blobman_received_bytes_total 800.0", text)
        self.assertIn("blobman_open_connections", text)
        self.assertNotIn("alice", text)
