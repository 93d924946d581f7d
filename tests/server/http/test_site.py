"""Connections: what the channel refuses, line ends between requests, and slow readers."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from blobman.protocol import write_authorization
from blobman.server.accounts.file import FileAccounts
from blobman.server.accounts.tokens import TokenFile
from blobman.server.http.access import Report
from blobman.server.http.channel import PIPELINED
from blobman.server.http.limits import Limits
from blobman.server.running.sites import make_site
from blobman.server.storage.interface import DamagedError, UnavailableError
from blobman.server.storage.payloads.memory import MemoryPayloads

from ..blobs import Consumer, name, open_memory_backend, sealed
from .test_fuzz import InstantReactor
from .test_limits import Wire


class SlowWire(Wire):
    """A transport whose client takes bytes only when it is told to."""

    untaken = 0
    is_paused = False
    is_closing = False

    def write(self, data: bytes) -> None:
        super().write(data)
        self.untaken += len(data)
        self.pause_if_full()

    def writeSequence(self, data: Any) -> None:
        self.write(b"".join(data))

    def pause_if_full(self) -> None:
        if self.untaken > 64 * 1024 and self.producer is not None and not self.is_paused:
            self.is_paused = True
            self.producer.pauseProducing()

    def take(self, size: int) -> None:
        self.untaken = max(0, self.untaken - size)
        if not self.untaken:
            if self.producer is not None and self.is_paused:
                self.is_paused = False
                self.producer.resumeProducing()
            elif self.is_closing:
                super().loseConnection()

    def loseConnection(self) -> None:
        self.is_closing = True
        if not self.untaken:
            super().loseConnection()

    def abortConnection(self) -> None:
        self.untaken = 0
        if self.producer is not None:
            self.producer.stopProducing()
        super().abortConnection()


class SiteCase(SynchronousTestCase):
    limits = Limits(idle=60, headers=20, stalled=300)

    def setUp(self) -> None:
        self.clock = InstantReactor()
        self.backend = open_memory_backend()
        tokens = TokenFile(self.mktemp())
        credentials = write_authorization("alice", tokens.add("alice"))
        self.headers = f"Host: x\r\nAuthorization: {credentials}\r\n".encode()
        accounts = FileAccounts(tokens, self.clock)
        self.site = make_site(self.backend, accounts, self.clock, self.limits)
        self.reports: list[Report] = []
        self.site.observers.append(self.reports.append)
        self.addCleanup(lambda: self.assertEqual(self.clock.getDelayedCalls(), []))

    def connect(self, wire: Wire | None = None) -> tuple[Any, Any]:
        protocol: Any = self.site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        wire = wire or Wire()
        wire.protocol = protocol
        protocol.makeConnection(wire)
        return protocol, wire

    def get(self, target: bytes) -> bytes:
        return b"GET " + target + b" HTTP/1.1\r\n" + self.headers + b"\r\n"

    def answer_to(self, data: bytes) -> bytes:
        """Give all that is answered, with the connection closed."""
        protocol, wire = self.connect()
        protocol.dataReceived(data)
        self.clock.advance(60)
        self.assertTrue(wire.disconnecting)
        answer: bytes = wire.value()
        return answer


class RefusedTests(SiteCase):
    """What the channel refuses by itself is answered with 400, and told once."""

    def assert_refused(self, data: bytes, method: str, path: str) -> None:
        self.reports.clear()
        answer = self.answer_to(data)
        self.assertTrue(answer.startswith(b"HTTP/1.1 400"), (data[:50], answer))
        self.assertEqual(answer.count(b"HTTP/1.1"), 1)
        self.assertEqual([(it.method, it.path, it.code) for it in self.reports],
                         [(method, path, 400)], data[:50])  # fmt: skip

    def test_bad_framing(self) -> None:
        head = b"PUT /blobs/alice/a?namespace=mail HTTP/1.1\r\n" + self.headers
        for rest in (
            b"Content-Length: 800\r\nContent-Length: 801\r\n\r\n",
            b"Content-Length: 800\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"Content-Length: 1e3\r\n\r\n",
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"Transfer-Encoding: chunked, chunked\r\n\r\n",
            b"Transfer-Encoding: identity\r\n\r\n",
            b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n",
            b"Transfer-Encoding: identity\r\nContent-Length: 3\r\n\r\nabc",
            b"Transfer-Encoding: gzip, chunked\r\n\r\n",
            b"Transfer-Encoding:\r\n\r\n",
            b"Transfer-Encoding:\r\n chunked\r\n\r\n",
            b"Transfer-Encoding: chunked\r\n\t, identity\r\n\r\n",
            b"Content-Length: 8\r\n 00\r\n\r\n",
            b"X: a\r\n b\r\n\r\n",
            b"X: a\x00b\r\n\r\n",
            b"no colon\r\n\r\n",
            b"X: " + b"y" * 20_000 + b"\r\n\r\n",
            b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc",
        ):
            self.assert_refused(head + rest, "PUT", "/blobs/alice/a")

    def test_a_coding_of_an_old_version(self) -> None:
        head = b"PUT /blobs/alice/a HTTP/1.0\r\n" + self.headers
        self.assert_refused(
            head + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "PUT", "/blobs/alice/a"
        )

    def test_nothing_of_a_bad_head_is_done(self) -> None:
        self.successResultOf(self.backend.store([(name("a"), sealed())]))
        head = b"DELETE /blobs/alice/a HTTP/1.1\r\n" + self.headers
        for rest in (b"X: a\r\n b\r\n\r\n", b"no colon\r\nX: y\r\n\r\n"):
            self.assert_refused(head + rest, "DELETE", "/blobs/alice/a")
        self.successResultOf(self.backend.read(name("a")))

    def test_no_request_line(self) -> None:
        for line in (b"\x16\x03\x01 hello\r\n\r\n", b"GET /\r\n\r\n", b"G" * 20_000):
            self.assert_refused(line, "-", "-")

    def test_who_sent_it_is_told(self) -> None:
        self.answer_to(b"GET /\r\n\r\n")
        self.answer_to(self.get(b"/health"))
        self.assertEqual([it.peer for it in self.reports], ["192.168.1.1"] * 2)

    def test_what_follows_is_not_read(self) -> None:
        self.assert_refused(b"GET / HTTP/9.9\r\n\r\n" + self.get(b"/health"), "-", "-")

    def test_one_host(self) -> None:
        self.assert_refused(b"GET /health HTTP/1.1\r\n\r\n", "GET", "/health")
        put = b"PUT /blobs/alice/a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"
        self.assert_refused(put, "PUT", "/blobs/alice/a")
        two = b"GET /health HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"
        self.assert_refused(two, "GET", "/health")
        answer = self.answer_to(b"GET /health HTTP/1.0\r\n\r\n")
        self.assertIn(b" 200 OK", answer)

    def test_while_it_is_answered(self) -> None:
        protocol, wire = self.connect()
        head = b"PUT /blobs/alice/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        protocol.dataReceived(head)
        self.assertTrue(wire.value().startswith(b"HTTP/1.1 401"))
        protocol.dataReceived(b"zz\r\n")
        self.assertEqual(wire.value().count(b"HTTP/1.1"), 1)
        self.assertEqual([it.code for it in self.reports], [401])
        self.assertTrue(wire.disconnecting)


class HeaderTests(SiteCase):
    """Headers that nobody sends by mistake are answered like other mistakes."""

    def test_what_is_not_ascii(self) -> None:
        self.successResultOf(self.backend.store([(name("a"), sealed())]))
        head = b"GET /blobs/alice/a HTTP/1.1\r\nHost: x\r\n"
        credentials = self.headers.partition(b"\r\n")[2]
        for value in (b"\xff", b"bytes=\xff", b"bytes=\xd9\xa0-\xd9\xa1", b"\xc3\xa4"):
            answer = self.answer_to(head + credentials + b"Range: " + value + b"\r\n\r\n")
            self.assertTrue(answer.startswith(b"HTTP/1.1 400"), answer)
            for text in (value, b"Token " + value):
                answer = self.answer_to(head + b"Authorization: " + text + b"\r\n\r\n")
                self.assertTrue(answer.startswith(b"HTTP/1.1 401"), answer)
            for header in (b"If-Range", b"Expect", b"Connection", b"Cookie", b"Host"):
                line = header + b": " + value + b"\r\n"
                head_of_its_own = head if header != b"Host" else head.partition(b"Host")[0]
                answer = self.answer_to(head_of_its_own + credentials + line + b"\r\n")
                self.assertTrue(answer.startswith(b"HTTP/1.1 200"), (line, answer))

    def test_what_is_there_twice(self) -> None:
        self.successResultOf(self.backend.store([(name("a"), sealed())]))
        head = b"GET /blobs/alice/a HTTP/1.1\r\n" + self.headers
        answer = self.answer_to(head + b"Range: bytes=0-1\r\nRange: bytes=2-3\r\n\r\n")
        self.assertTrue(answer.startswith(b"HTTP/1.1 400"), answer)
        credentials = self.headers.partition(b"\r\n")[2]
        answer = self.answer_to(head + credentials + b"\r\n")
        self.assertTrue(answer.startswith(b"HTTP/1.1 401"), answer)


class TargetTests(SiteCase):
    def test_absolute_form(self) -> None:
        self.successResultOf(self.backend.store([(name("a"), sealed())]))
        for target in (
            b"http://x/blobs/alice/?only_count=True",
            b"HTTPS://x:443/blobs/alice?only_count=True",
        ):
            self.assertIn(b'{"count": 1}', self.answer_to(self.get(target)))
        self.assertEqual({it.path for it in self.reports}, {"/blobs/alice/", "/blobs/alice"})
        for target in (b"http://x", b"http://x?a=b", b"ftp://x/health"):
            self.assertIn(b" 404 ", self.answer_to(self.get(target)))


class LineEndTests(SiteCase):
    def test_between_requests(self) -> None:
        protocol, wire = self.connect()
        for stray in (b"\r\n", b"\r\n\r\n", b"\n"):
            protocol.dataReceived(stray)
            self.clock.advance(25)
            self.assertFalse(wire.disconnecting)
            protocol.dataReceived(stray + self.get(b"/health") + stray)
        protocol.dataReceived(b"\r")
        self.clock.advance(59)
        self.assertFalse(wire.disconnecting)
        self.assertEqual(wire.value().count(b" 200 OK"), 3)
        self.clock.advance(1)
        self.assertTrue(wire.disconnecting)

    def test_they_do_not_keep_a_connection(self) -> None:
        protocol, wire = self.connect()
        for _ in range(2):
            protocol.dataReceived(b"\r\n")
            self.clock.advance(30)
        self.assertTrue(wire.disconnecting)

    def test_within_a_request(self) -> None:
        protocol, wire = self.connect()
        for byte in b"\r\n" + self.get(b"/health"):
            protocol.dataReceived(bytes([byte]))
        self.assertIn(b" 200 OK", wire.value())
        wire.loseConnection()


class SlowReaderTests(SiteCase):
    """A client that takes some of an answer now and then gets all of it."""

    def setUp(self) -> None:
        super().setUp()
        ids = [f"{number:0254}" for number in range(4000)]
        self.successResultOf(self.backend.store([(name(it), sealed()) for it in ids]))
        self.successResultOf(self.backend.store([(name("large"), sealed(size=1_000_000))]))

    def read_slowly(self, target: bytes) -> SlowWire:
        protocol, wire = self.connect(SlowWire())
        protocol.dataReceived(self.get(target))
        for _ in range(100):
            if not wire.untaken:
                break
            self.assertFalse(wire.disconnecting)
            wire.take(20_000)
            self.clock.advance(20)
        self.assertFalse(wire.is_aborted)
        answer: SlowWire = wire
        return answer

    def test_all_of_it_comes(self) -> None:
        for target in (b"/blobs/alice/", b"/blobs/alice/large"):
            wire = self.read_slowly(target)
            self.assertGreater(len(wire.value()), 1_000_000)
            self.clock.advance(60)
            self.assertTrue(wire.disconnecting)

    def test_answers_that_wait_behind_others(self) -> None:
        ids = [name(f"{number:0254}", namespace="short") for number in range(240)]
        self.successResultOf(self.backend.store([(it, sealed()) for it in ids]))
        protocol, wire = self.connect(SlowWire())
        short = self.get(b"/blobs/alice/?namespace=short")
        for long in (b"/blobs/alice/", b"/blobs/alice/large"):
            protocol.dataReceived(short + short + self.get(long))
            self.assertLess(wire.untaken, 500_000)
            while wire.untaken:
                wire.take(1_000_000)
                self.clock.advance(0)
        self.assertEqual(wire.value().count(b" 200 OK"), 6)
        wire.loseConnection()

    def test_the_last_of_it(self) -> None:
        # Less than what makes the server wait, when the connection is closed for being idle.
        protocol, wire = self.connect(SlowWire())
        protocol.dataReceived(self.get(b"/blobs/alice/0"))
        self.clock.advance(60)
        self.assertTrue(wire.is_closing)
        self.clock.advance(299)
        self.assertFalse(wire.is_aborted)
        self.clock.advance(1)
        self.assertTrue(wire.is_aborted)

    def test_nothing_is_taken(self) -> None:
        protocol, wire = self.connect(SlowWire())
        protocol.dataReceived(self.get(b"/blobs/alice/"))
        self.clock.advance(299)
        self.assertFalse(wire.is_aborted)
        self.clock.advance(1)
        self.assertTrue(wire.is_aborted)
        self.assertEqual([it.code for it in self.reports], [499])

    def test_long_lists_are_not_held(self) -> None:
        for _ in range(20):
            protocol, wire = self.connect(SlowWire())
            protocol.dataReceived(self.get(b"/blobs/alice/"))
            self.assertIn(b" 200 OK", wire.value())
            # A page, of four and a bit.
            self.assertLess(len(wire.value()), 300_000)
            wire.abortConnection()
        self.assertIn(b'{"count": 4001}', self.answer_to(self.get(b"/blobs/alice/?only_count=1")))


class PipelinedTests(SiteCase):
    """Requests that are sent without waiting for answers."""

    def test_others_have_their_turn(self) -> None:
        protocol, wire = self.connect()
        answered = []
        later = self.clock.callLater

        def call_later(delay: float, *them: Any) -> object:
            if not delay:
                answered.append(wire.value().count(b" 404 "))
            return later(delay, *them)

        self.patch(self.clock, "callLater", call_later)
        protocol.dataReceived(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
        self.assertEqual(wire.producerState, "paused")
        # What still comes from the wire has to wait, too.
        protocol.dataReceived(self.get(b"/health"))
        self.clock.advance(0)
        self.assertEqual(answered, list(range(PIPELINED, 1001, PIPELINED)))
        self.assertEqual(wire.value().count(b" 200 OK"), 1)
        self.assertEqual(wire.producerState, "producing")
        wire.loseConnection()

    def test_a_client_that_takes_no_answers(self) -> None:
        self.successResultOf(self.backend.store([(name("a"), sealed(size=30_000))]))
        protocol, wire = self.connect(SlowWire())
        protocol.dataReceived(self.get(b"/blobs/alice/a") * 1000)
        self.clock.pump([0] * 200)
        self.assertLess(wire.untaken, 300_000)
        for _ in range(10):
            taken = wire.value().count(b" 200 OK")
            self.clock.advance(299)
            self.assertFalse(wire.disconnecting)
            wire.take(1_000_000)
            self.clock.advance(0)
            self.assertGreater(wire.value().count(b" 200 OK"), taken)
        self.clock.advance(300)
        self.assertTrue(wire.is_closing)
        self.clock.advance(300)
        self.assertTrue(wire.is_aborted)

    def test_closed_while_some_wait(self) -> None:
        for close in ("retire", "abort"):
            protocol, wire = self.connect()
            protocol.dataReceived(self.get(b"/health") * 100)
            getattr(protocol, close)()
            self.clock.advance(0)
            self.assertEqual(wire.value().count(b" 200 OK"), PIPELINED)
            self.assertTrue(wire.disconnecting)

    def test_bodies_between(self) -> None:
        protocol, wire = self.connect()
        put = b"PUT /blobs/alice/%d HTTP/1.1\r\n" + self.headers + b"Content-Length: 800\r\n\r\n"
        data = b"".join(put % number + sealed(str(number)) for number in range(30))
        for start in range(0, len(data), 3000):
            protocol.dataReceived(data[start : start + 3000])
        self.clock.pump([0] * 10)
        self.assertEqual(wire.value().count(b" 200 OK"), 30)
        for number in range(30):
            stored = self.successResultOf(self.backend.read(name(str(number))))
            self.assertEqual(stored.content, sealed(str(number)))
        wire.loseConnection()


class SlowServerTests(SiteCase):
    """The time that a client is kept waiting by this side is not its own."""

    def setUp(self) -> None:
        super().setUp()
        self.gate: Deferred[None] = Deferred()
        real = self.backend.receive
        self.patch(
            self.backend,
            "receive",
            lambda *them: self.gate.addCallback(lambda _: real(*them)),
        )

    def put(self, size: int, *headers: bytes) -> bytes:
        lines = [b"Content-Length: %d" % size, *headers, b"", b""]
        return b"PUT /blobs/alice/a HTTP/1.1\r\n" + self.headers + b"\r\n".join(lines)

    def assert_idle_ends(self, wire: Wire) -> None:
        self.clock.advance(59)
        self.assertFalse(wire.disconnecting)
        self.clock.advance(1)
        self.assertTrue(wire.disconnecting)

    def test_a_disk_that_takes_long(self) -> None:
        content = sealed(size=2_000_000)
        protocol, wire = self.connect()
        protocol.dataReceived(self.put(len(content)) + content[:600_000])
        self.clock.pump([30] * 10)
        self.assertFalse(wire.disconnecting)
        self.gate.callback(None)
        protocol.dataReceived(content[600_000:])
        self.assertIn(b" 200 OK", wire.value())
        consumer = Consumer()
        self.successResultOf(self.successResultOf(self.backend.read(name("a"))).write_to(consumer))
        self.assertEqual(consumer.content, content)
        self.assert_idle_ends(wire)

    def test_the_rest_is_up_to_the_client(self) -> None:
        protocol, wire = self.connect()
        protocol.dataReceived(self.put(2_000_000) + bytes(600_000))
        self.clock.advance(300)
        self.gate.callback(None)
        self.assert_idle_ends(wire)

    def test_all_of_it_came_at_once(self) -> None:
        content = sealed(size=600_000)
        protocol, wire = self.connect()
        protocol.dataReceived(self.put(len(content)) + content)
        self.clock.advance(300)
        self.gate.callback(None)
        self.assertIn(b" 200 OK", wire.value())
        self.assert_idle_ends(wire)

    def test_before_it_says_that_the_body_may_come(self) -> None:
        content = sealed(size=200_000)
        protocol, wire = self.connect()
        protocol.dataReceived(self.put(len(content), b"Expect: 100-continue"))
        self.clock.pump([30] * 10)
        self.assertFalse(wire.disconnecting)
        self.gate.callback(None)
        self.assertIn(b" 100 Continue", wire.value())
        self.assert_idle_ends(wire)


class UnreadableTests(SiteCase):
    """What fails before the first byte has been sent is answered as if nothing had been there."""

    def setUp(self) -> None:
        super().setUp()
        upload = self.successResultOf(self.backend.receive(name("a"), 200_000))
        self.successResultOf(upload.write([sealed(size=200_000)]))
        self.successResultOf(upload.publish())
        self.patch(MemoryPayloads, "get", lambda *_: fail(DamagedError("no such sector")))

    def test_nothing_is_left_of_the_answer(self) -> None:
        for request in (
            self.get(b"/blobs/alice/a"),
            self.get(b"/blobs/alice/a").replace(b"\r\n\r\n", b"\r\nRange: bytes=0-9\r\n\r\n"),
            b"POST /stream/alice?direction=download HTTP/1.1\r\n" + self.headers
            + b"Content-Length: 5\r\n\r\n" + b'["a"]',
        ):  # fmt: skip
            protocol, wire = self.connect()
            protocol.dataReceived(request)
            answer = wire.value()
            self.assertTrue(answer.startswith(b"HTTP/1.1 500"), answer)
            for header in (b"Tag", b"Content-Range", b"Accept-Ranges", b"octet-stream"):
                self.assertNotIn(header, answer)
            self.assertIn(b"Content-Length: 32\r\n", answer)
            wire.clear()
            protocol.dataReceived(self.get(b"/health"))
            self.assertIn(b" 200 OK", wire.value())
            wire.loseConnection()
            self.assertEqual(self.flushLoggedErrors(), [])


class LogTests(SiteCase):
    """All that is logged about a request has its id, and its user."""

    def test_an_error_and_the_line_of_its_request(self) -> None:
        events: list[LogEvent] = []
        observer = cast(ILogObserver, events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        for error in (UnavailableError("full"), DamagedError("damaged"), OSError(5, "lost")):
            events.clear()
            self.patch(self.backend, "read", lambda _, error=error: fail(error))
            protocol, wire = self.connect()
            protocol.dataReceived(self.get(b"/blobs/alice/a") * 2)
            wire.loseConnection()
            ids = [it["request_id"] for it in events]
            # An error, and the line of the request; and so for the other request.
            self.assertEqual(ids, [ids[0], ids[0], ids[2], ids[2]])
            self.assertNotEqual(ids[0], ids[2])
            self.assertEqual(ids[::2], [it.request_id for it in self.reports[-2:]])
            for event in events:
                self.assertIn("user=alice", formatEvent(event))
                self.assertIn(f"request={event['request_id']}", formatEvent(event))
        self.flushLoggedErrors(OSError)

    def test_nobody_yet(self) -> None:
        self.answer_to(b"GET /blobs/alice/ HTTP/1.1\r\nHost: x\r\n\r\n")
        (report,) = self.reports
        self.assertEqual((report.user, len(report.request_id)), ("", 12))
