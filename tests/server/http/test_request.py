"""Refusing before the body, 100-continue, cut bodies, back-pressure: see ``request.py``."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import optionsForClientTLS
from twisted.trial.unittest import TestCase
from twisted.web.client import FileBodyProducer

from blobman.protocol import write_authorization
from blobman.server.http import upload
from blobman.server.storage.interface import IUpload

from ..blobs import sealed
from ..serving import ServerMixin
from ..talk import Talk
from ..tampering import leftovers

LARGE = 50_000_000


class RequestTests(ServerMixin, TestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        await self.start_server()

    async def talk(self) -> Talk:
        endpoint: IStreamClientEndpoint = HostnameEndpoint(
            reactor, "127.0.0.1", self.port.getHost().port
        )
        if self.scheme == "https":
            options = optionsForClientTLS("127.0.0.1", self.authority())
            endpoint = wrapClientTLS(options, endpoint)
        talk = Talk()
        await connectProtocol(endpoint, talk)
        self.addCleanup(talk.abort)
        return talk

    def head(self, line: str, *headers: str, token: str | None = None) -> bytes:
        credentials = write_authorization("alice", token or self.alice)
        lines = [line, "Host: x", f"Authorization: {credentials}", *headers, "", ""]
        return "\r\n".join(lines).encode()

    def staged(self) -> list[str]:
        return leftovers(self.root)

    async def test_one_without_a_length_that_turns_out_too_long(self) -> None:
        self.patch(upload, "MAX_SEALED_SIZE", 300_000)
        for size, code in ((300_000, b" 200 "), (300_001, b" 413 ")):
            talk = await self.talk()
            head = self.head(f"PUT /blobs/alice/{size} HTTP/1.1", "Transfer-Encoding: chunked")
            talk.send(head + b"%x\r\n%s\r\n0\r\n\r\n" % (size, bytes(size)))
            self.assertIn(code, await talk.until(b"\r\n\r\n"))
        self.assertEqual((await self.ask("GET", "blobs/alice/")).json(), ["300000"])
        self.assertEqual(self.staged(), [])

    # -- refusing before the body ------------------------------------------------------

    async def test_refused_before_the_body(self) -> None:
        await self.expect(200, "PUT", "blobs/alice/taken", sealed())
        for path, token, code in (
            ("alice/a", "wrong", b"401"),
            ("bob/a", None, b"403"),
            ("alice/taken", None, b"409"),
            ("alice/a.b", None, b"400"),
        ):
            talk = await self.talk()
            request = f"PUT /blobs/{path} HTTP/1.1"
            talk.send(self.head(request, f"Content-Length: {LARGE}", token=token))
            answer = await talk.until(b"\r\n\r\n")
            self.assertTrue(answer.startswith(b"HTTP/1.1 " + code), answer)
            self.assertIn(b"Connection: close", answer)
        self.assertEqual(self.staged(), [])

    async def test_a_client_that_sends_50_mb_reads_the_refusal(self) -> None:
        await self.expect(200, "PUT", "blobs/alice/taken", sealed())
        for path, token, code in (("a", "wrong", 401), ("taken", None, 409)):
            body = FileBodyProducer(BytesIO(bytes(LARGE)))
            await self.expect(code, "PUT", f"blobs/alice/{path}", body, token=token)

    async def test_a_refusal_after_a_small_body_keeps_the_connection(self) -> None:
        await self.expect(200, "PUT", "blobs/alice/taken", sealed())
        talk = await self.talk()
        request = self.head("PUT /blobs/alice/taken HTTP/1.1", "Content-Length: 800")
        for _ in range(3):
            talk.received = b""
            talk.send(request + sealed())
            answer = await talk.until(b"of that name\n")
            self.assertTrue(answer.startswith(b"HTTP/1.1 409"), answer)
        self.assertFalse(talk.closed.called)

    async def test_pipelined_requests(self) -> None:
        talk = await self.talk()
        talk.send(
            self.head("PUT /blobs/alice/a HTTP/1.1", "Content-Length: 800")
            + sealed("a")
            + self.head("PUT /blobs/alice/a HTTP/1.1", "Content-Length: 800")
            + sealed("b")
            + self.head("GET /blobs/alice/a HTTP/1.1", "Connection: close")
        )
        answers = await talk.closed
        self.assertEqual(answers.count(b"HTTP/1.1 200"), 2)
        self.assertEqual(answers.count(b"HTTP/1.1 409"), 1)
        self.assertTrue(answers.endswith(sealed("a")))

    async def test_pipelined_requests_hold_up_nobody(self) -> None:
        flood, other = await self.talk(), await self.talk()
        flood.send(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n" * 2000)
        await flood.until(b" 404 ")
        other.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        await other.until(b" 200 OK")
        # The clients share the reactor with the server, so this counts what has been sent.
        self.assertLess(flood.received.count(b" 404 "), 2000)
        flood.send(b"GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        self.assertEqual((await flood.closed).count(b" 404 "), 2001)

    # -- 100-continue ------------------------------------------------------------------

    async def test_continue(self) -> None:
        talk = await self.talk()
        expect = ("Expect: 100-continue", "Content-Length: 800")
        talk.send(self.head("PUT /blobs/alice/a HTTP/1.1", *expect))
        answer = await talk.until(b"\r\n\r\n")
        self.assertEqual(answer, b"HTTP/1.1 100 Continue\r\n\r\n")
        talk.send(sealed())
        self.assertIn(b"HTTP/1.1 200", await talk.until(b"HTTP/1.1 200"))

    async def test_no_continue_for_what_is_refused(self) -> None:
        await self.expect(200, "PUT", "blobs/alice/a", sealed())
        talk = await self.talk()
        expect = ("Expect: 100-continue", "Content-Length: 800")
        talk.send(self.head("PUT /blobs/alice/a HTTP/1.1", *expect))
        answer = await talk.until(b"of that name\n")
        self.assertTrue(answer.startswith(b"HTTP/1.1 409"), answer)

    # -- bodies ------------------------------------------------------------------------

    async def test_a_body_cut_short_leaves_nothing(self) -> None:
        talk = await self.talk()
        talk.send(
            self.head("PUT /blobs/alice/a HTTP/1.1", "Content-Length: 3000000")
            + sealed(size=2_000_000)
        )
        while not self.staged():
            await self.turn()
        talk.abort()
        while self.staged():
            await self.turn()
        await self.expect(404, "GET", "blobs/alice/a")

    def turn(self) -> Deferred[None]:
        """Let the reactor go round once."""
        deferred: Deferred[None] = Deferred()
        reactor.callLater(0, deferred.callback, None)
        return deferred

    async def test_a_chunked_body(self) -> None:
        talk = await self.talk()
        talk.send(
            self.head("PUT /blobs/alice/a HTTP/1.1", "Transfer-Encoding: chunked")
            + b"320\r\n" + sealed("a") + b"\r\n"
        )  # fmt: skip
        talk.send(b"1\r\n.\r\n0\r\n\r\n")
        await talk.until(b"HTTP/1.1 200")
        answer = await self.expect(200, "GET", "blobs/alice/a")
        self.assertEqual(answer.body, sealed("a") + b".")

    async def test_a_chunked_body_that_is_too_short(self) -> None:
        talk = await self.talk()
        talk.send(
            self.head("PUT /blobs/alice/a HTTP/1.1", "Transfer-Encoding: chunked")
            + b"3\r\nabc\r\n0\r\n\r\n"
        )
        await talk.until(b"HTTP/1.1 400")
        self.assertEqual(self.staged(), [])

    async def test_bad_framing_leaves_nothing(self) -> None:
        for headers, body in (
            (("Transfer-Encoding: chunked",), b"zz\r\nabc"),
            (("Content-Length: 800", "Transfer-Encoding: chunked"), b""),
            (("Content-Length: 800", "Content-Length: 801"), b""),
            (("Content-Length: -1",), b""),
            (("Content-Length: 1e3",), b""),
        ):
            talk = await self.talk()
            talk.send(self.head("PUT /blobs/alice/a HTTP/1.1", *headers) + body)
            answer = await talk.closed
            self.assertTrue(answer.startswith(b"HTTP/1.1 400"), (headers, answer))
        while self.staged():
            await self.turn()

    async def test_a_disk_slower_than_the_wire_stops_the_sender(self) -> None:
        talk = await self.talk()
        gate: Deferred[None] = Deferred()
        real_receive = self.backend.receive

        async def receive_later(*arguments: Any) -> IUpload:
            await gate
            upload: IUpload = await real_receive(*arguments)
            return upload

        self.patch(
            self.backend, "receive", lambda *them: Deferred.fromCoroutine(receive_later(*them))
        )
        talk.send(
            self.head("PUT /blobs/alice/a HTTP/1.1", f"Content-Length: {LARGE}")
            + sealed(size=LARGE)
        )
        while not (channels := list(self.site.channels)) or not channels[0].requests:
            await self.turn()
        body = channels[0].requests[0].body
        while body.received < 512 * 1024:
            await self.turn()
        for _ in range(50):
            await self.turn()
        self.assertLess(body.received, 1024 * 1024)
        gate.callback(None)
        await talk.until(b"HTTP/1.1 200")
        answer = await self.expect(200, "HEAD", "blobs/alice/a")
        self.assertEqual(answer.header("Content-Length"), str(LARGE))


class TLSRequestTests(RequestTests):
    """The same, with TLS between."""

    scheme = "https"
