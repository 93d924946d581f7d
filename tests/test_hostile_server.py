"""A server that answers anything: the client gives a clear error, and never an unverified byte."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from blobman import (
    BlobManager,
    BlobNotFoundError,
    MaximumRetriesError,
    QuotaExceededError,
    RetriableTransferError,
    ServerError,
    SyncStatus,
    UnauthorizedError,
)
from blobman.crypto import Preamble, Sealer, check_secret
from blobman.protocol import write_tag

from .support import KEY, MB, SECRET, USER, content, doc
from .test_manager import status_of

_reactor: Any = reactor
Answer = Callable[[Request], Any]


PREAMBLE = Preamble.for_blob("new", 4, b"i" * 16, 0).encode()


def sealed(data: bytes, blob_id: str) -> bytes:
    preamble = Preamble.for_blob(blob_id, len(data), b"i" * 16, 0).encode()
    sealer = Sealer(check_secret(SECRET), preamble, len(data))
    return sealer.header() + sealer.update(data) + sealer.finalize()


class Scripted(Resource):
    """Answers each request as the test says."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.answer: Answer = lambda request: b""
        self.requests: list[Request] = []
        self.empty_stream: bytes | None = None
        """What an upload stream of nothing is answered; None for nothing special."""

    def render(self, request: Request) -> Any:
        self.requests.append(request)
        if self.empty_stream is not None and is_empty_stream(request):
            return self.empty_stream
        return self.answer(request)


def is_empty_stream(request: Request) -> bool:
    """Whether a client asks whether there are streams."""
    content: Any = request.content
    body = content.read()
    content.seek(0)
    return request.path.startswith(b"/stream") and bool(body == b"[]\n")


class Hasty(Protocol):
    """Answers an upload as soon as it begins, a bit for each bit of it that comes."""

    answers: tuple[bytes, ...] = ()

    def connectionMade(self) -> None:
        self.left = list(self.answers)

    def dataReceived(self, data: bytes) -> None:
        if self.left and self.transport is not None:
            self.transport.write(self.left.pop(0))


class ScriptedTestCase(TestCase):
    """A manager whose server answers as the test says."""

    async def setUp(self) -> None:  # type: ignore[override]
        self.resource = Scripted()
        site = Site(self.resource)
        site.noisy = False
        port: IListeningPort = _reactor.listenTCP(0, site, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        url = f"http://127.0.0.1:{port.getHost().port}/blobs/"  # type: ignore[attr-defined]
        self.manager = BlobManager(
            os.path.abspath(self.mktemp()), url, KEY, SECRET, USER, "token", jitter=lambda _: 0.0
        )
        self.addCleanup(self.manager.close)

    def with_code(self, code: int, **headers: str) -> Answer:
        def answer(request: Request) -> bytes:
            request.setResponseCode(code)
            for name, value in headers.items():
                request.setHeader(name.replace("_", "-"), value)
            return b"<html>some proxy's own words</html>"

        self.resource.answer = answer
        return answer

    def says(self, code: int, body: str, **headers: str) -> None:
        """Answer as a blobs server does."""
        titled = self.with_code(code, **headers)
        self.resource.answer = lambda request: (titled(request), body.encode())[1]

    def with_body(self, body: bytes, **headers: str) -> None:
        self.with_code(200, **headers)
        titled = self.resource.answer
        self.resource.answer = lambda request: (titled(request), body)[1]


class HostileServerTests(ScriptedTestCase):
    async def test_codes_of_a_stranger(self) -> None:
        expected: dict[int, type[Exception]] = {
            **dict.fromkeys((201, 202, 203, 204, 206, 301, 302, 303, 304, 307, 308), ServerError),
            **dict.fromkeys((400, 401, 402, 403, 404, 405, 406, 407, 409, 410), ServerError),
            **dict.fromkeys((413, 418, 421, 451, 499, 501, 505, 507, 511, 600, 999), ServerError),
            **dict.fromkeys((408, 425, 429, 500, 502, 503, 504, 509), RetriableTransferError),
            **dict.fromkeys((*range(520, 531), 555, 599), RetriableTransferError),
        }
        for code, kind in expected.items():
            self.with_code(code, location="http://127.0.0.1:1/elsewhere")
            name = f"x{code}"
            asks: list[Callable[[], Deferred[Any]]] = [
                partial(self.manager.get, f"not-{name}"),
                partial(self.manager.get_flags, name),
                partial(self.manager.set_flags, name, []),
                partial(self.manager.put, doc(b"data", name), 4),
                partial(self.manager.delete, name),
                self.manager.count,
                self.manager.remote_list,
                self.manager.sync,
            ]
            for ask in asks:
                with self.assertRaises(kind) as caught:
                    await ask()
                self.assertIn(str(code), str(caught.exception))
                self.assertNotIn("own words", str(caught.exception))
                if kind is ServerError:
                    self.assertEqual(caught.exception.code, code)
            self.assertIs(await status_of(self.manager, name), SyncStatus.PENDING_DELETE)
            assert self.manager.local is not None
            self.assertTrue(await self.manager.local.delete(name))

    async def test_codes_of_the_server(self) -> None:
        token = {"www_authenticate": 'Token realm="blobs"'}
        for code, body, headers, kind in (
            (401, "Unauthorized", {"www_authenticate": "token"}, UnauthorizedError),
            (401, "a valid token is needed\n", token, UnauthorizedError),
            (403, "this is another user's\n", {}, UnauthorizedError),
            (404, "no such blob\n", {}, BlobNotFoundError),
            (404, "Blob doesn't exist: x", {}, BlobNotFoundError),
            (404, "anything", {"blobs_answer": "no-such-blob"}, BlobNotFoundError),
        ):
            self.says(code, body, **headers)
            for ask in (self.manager.get, self.manager.get_flags):
                with self.assertRaises(kind) as caught:
                    await ask("x")
                self.assertIn(f"({code})", str(caught.exception))

    async def test_no_space_on_the_server(self) -> None:
        self.says(507, "the user's space is used up\n")
        with self.assertRaises(QuotaExceededError):
            await self.manager.put(doc(b"data", "x"), 4)
        self.assertEqual(await self.manager.sync_progress, {"PENDING_UPLOAD": 1})
        with self.assertRaises(QuotaExceededError):
            await self.manager.send_missing()
        self.assertEqual(await self.manager.sync_progress, {"FAILED_UPLOAD": 1})

    async def test_nothing_is_done_by_a_page(self) -> None:
        good = sealed(b"data", "goes")
        self.with_body(good, tag=write_tag(good[-16:]))
        await self.manager.get("goes")
        for page in (b"<!DOCTYPE html><title>Welcome</title>", b" \n<html>", b"OK"):
            self.with_body(page, content_type="text/html")
            asks: list[Callable[[], Deferred[Any]]] = [
                lambda: self.manager.get("more"),
                lambda: self.manager.set_flags("goes", ["PENDING"]),
                lambda: self.manager.delete("goes"),
                self.manager.send_missing,
                self.manager.sync,
                self.manager.fetch_missing,
                self.manager.count,
                lambda: self.manager.get_flags("goes"),
            ]
            assert self.manager.local is not None
            await self.manager.local.put("new", doc(b"data").blob_fd, 4, preamble=PREAMBLE)
            for ask in asks:
                with self.assertRaises(ServerError) as caught:
                    await ask()
                self.assertTrue(caught.exception.may_pass)
                if page != b"OK":
                    self.assertRegex(str(caught.exception), r"HTML instead of .*a login page")
            status = {
                blob_id: await self.manager.local.get_sync_status(blob_id)
                for blob_id in ("goes", "more", "new")
            }
            self.assertEqual(
                status,
                {
                    "goes": (SyncStatus.PENDING_DELETE, 0),
                    "more": (SyncStatus.PENDING_DOWNLOAD, 0),
                    "new": (SyncStatus.PENDING_UPLOAD, 0),
                },
            )
            await self.manager.local.update_sync_status("new", SyncStatus.PENDING_DELETE)
            await self.manager.local.delete("new")

    async def test_retry_after(self) -> None:
        self.with_code(503, retry_after="17")
        with self.assertRaises(RetriableTransferError) as caught:
            await self.manager.get("x")
        self.assertEqual(caught.exception.retry_after, 17.0)

    async def test_a_redirection_does_not_get_the_token(self) -> None:
        self.with_code(307, location="/elsewhere")
        with self.assertRaises(ServerError):
            await self.manager.count()
        self.assertEqual(len(self.resource.requests), 1)

    async def test_cookies_are_not_kept(self) -> None:
        self.with_body(b"[]", set_cookie="visit=1; Path=/", set_cookie2="old=1; Version=1")
        await self.manager.remote_list()
        await self.manager.remote_list()
        for request in self.resource.requests:
            self.assertIsNone(request.getHeader("cookie"))

    async def test_not_a_list(self) -> None:
        for body in (
            b"",
            b"{}",
            b"nonsense",
            b"[1]",
            b'["../../etc/passwd"]',
            b'["' + b"x" * 255 + b'"]',
            b"\xff\xfe",
            b"[" * 100_000,
            json.dumps({"count": 3}).encode(),
        ):
            self.with_body(body)
            with self.assertRaises(ServerError):
                await self.manager.remote_list()
            with self.assertRaises(ServerError):
                await self.manager.sync()
        self.assertEqual(await self.manager.sync_progress, {})

    async def test_not_a_count(self) -> None:
        for body in (b"3", b"[]", b'{"count": -1}', b'{"count": "3"}', b'{"count": true}'):
            self.with_body(body)
            with self.assertRaises(ServerError):
                await self.manager.count()

    async def test_not_flags(self) -> None:
        for body in (b"{}", b'["SHINY"]', b"[[]]", b"PENDING"):
            self.with_body(body)
            with self.assertRaises(ServerError):
                await self.manager.get_flags("x")

    async def test_no_or_a_wrong_tag(self) -> None:
        for number, tag in enumerate((None, "short", "!" * 24, "AAAA" * 8)):

            def conflict(request: Request, tag: str | None = tag) -> bytes:
                if request.method == b"PUT":
                    request.setResponseCode(409)
                    return request.path.replace(b"/blobs/alice/", b"Blob already exists: ")
                if tag is not None:
                    request.setHeader("tag", tag)
                return b""

            self.resource.answer = conflict
            with self.assertRaises(ServerError):
                await self.manager.put(doc(b"data", f"x{number}"), 4)
        self.assertEqual(await self.manager.sync_progress, {"PENDING_UPLOAD": 4})

    async def test_bodies_that_do_not_verify(self) -> None:
        good = sealed(content(3 * MB), "x")
        other = sealed(content(3 * MB), "y")
        for body in (
            b"",
            b"garbage",
            b"x" * 2_000_000,
            good[:-1],
            good[:1000],
            good + b"\0",
            other,
            good[:-20] + b"\0" * 20,
        ):
            self.with_body(body, tag=write_tag(good[-16:]))
            with self.assertRaises(MaximumRetriesError):
                await self.manager.get("x")
            self.assertEqual(await self.manager.local_list(), [])
            # Without a tag it is nobody's blob.
            self.with_body(body)
            with self.assertRaises(ServerError):
                await self.manager.get("x")
        # One that verifies is the server's, whatever became of the headers on the way.
        self.with_body(good)
        self.assertEqual((await self.manager.get("x")).read(), content(3 * MB))

    async def test_a_body_that_says_it_is_compressed(self) -> None:
        bomb = gzip.compress(bytes(200 * MB), 1)
        self.with_body(bomb, content_encoding="gzip", tag="A" * 22 + "==")
        with self.assertRaises(MaximumRetriesError):
            await self.manager.get("x")
        with self.assertRaises(ServerError):
            await self.manager.remote_list()

    async def test_an_answer_that_is_too_long(self) -> None:
        self.with_body(b'["' + b"P" * 100_000 + b'"]')
        with self.assertRaises(ServerError):
            await self.manager.get_flags("x")

    async def test_an_upload_that_is_accepted_before_it_was_sent(self) -> None:
        manager = await self.with_hasty(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        with self.assertRaises(ServerError) as caught:
            await manager.put(doc(content(20 * MB), "x"), 20 * MB)
        self.assertIn("before", str(caught.exception))
        assert manager.local is not None
        self.assertEqual(await manager.sync_progress, {"PENDING_UPLOAD": 1})

    async def test_a_list_that_is_too_long_leaves_nothing(self) -> None:
        for body, words in (
            (b"[" + b'"a",' * 900_000 + b'"b"]', "more than 900000 ids"),
            (b"[" + b" " * 34 * MB + b"]", "longer than 33554432 bytes"),
            (b"[" + b"[]," * MB + b"[]]", "not an id"),
        ):
            self.with_body(body)
            for ask in (self.manager.sync, self.manager.remote_list):
                with self.assertRaises(ServerError) as caught:
                    await ask()
                self.assertIn(words, str(caught.exception))
        self.assertEqual(await self.manager.sync_progress, {})

    async def with_hasty(self, *answers: bytes) -> BlobManager:
        """Make a manager whose server says that bit by bit as soon as an upload begins."""
        factory = Factory.forProtocol(type("", (Hasty,), {"answers": answers}))
        factory.noisy = False
        port = _reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        url = f"http://127.0.0.1:{port.getHost().port}/"
        manager = BlobManager(os.path.abspath(self.mktemp()), url, KEY, SECRET, USER)
        self.addCleanup(manager.close)
        return manager

    async def test_a_proxy_that_takes_no_long_bodies(self) -> None:
        page = b"<html>413 Request Entity Too Large</html>"
        head = b"HTTP/1.1 413 X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(page)
        for answers in ((head + page,), (head, page), (head[:20], head[20:], page[:5], page[5:])):
            manager = await self.with_hasty(*answers)
            with self.assertRaises(ServerError) as caught:
                await manager.put(doc(content(20 * MB), "x"), 20 * MB)
            self.assertIn("something between here and the server", str(caught.exception))
            self.assertEqual(await manager.sync_progress, {"PENDING_UPLOAD": 1})

    async def test_an_early_answer_that_does_not_end(self) -> None:
        head = b"HTTP/1.1 413 X\r\nContent-Length: 100000000\r\n\r\n"
        manager = await self.with_hasty(head, *([b"x" * 10_000] * 50))
        with self.assertRaises(ServerError):
            await manager.put(doc(content(20 * MB), "x"), 20 * MB)
        self.assertEqual(await manager.sync_progress, {"PENDING_UPLOAD": 1})

    async def test_not_http(self) -> None:
        def answer(request: Request) -> int:
            connection: Any = request.channel.transport
            connection.write(b"SSH-2.0-OpenSSH_9.2\r\n")
            connection.loseConnection()
            return NOT_DONE_YET

        self.resource.answer = answer
        with self.assertRaises(ServerError):
            await self.manager.count()

    async def test_a_cut_body_counts_no_attempt(self) -> None:
        good = sealed(content(MB), "x")

        def cut(request: Request) -> int:
            request.setHeader("content-length", str(len(good)))
            request.write(good[:5000])
            request.transport.loseConnection()  # type: ignore[union-attr]
            return NOT_DONE_YET

        self.resource.answer = cut
        with self.assertRaises(RetriableTransferError):
            await self.manager.get("x")
        assert self.manager.local is not None
        self.assertEqual(
            await self.manager.local.get_sync_status("x"), (SyncStatus.PENDING_DOWNLOAD, 0)
        )

    async def test_what_sync_tries_again(self) -> None:
        good = sealed(b"data", "x")
        left = [500, 503, 429, 408, 502, 504]

        def answer(request: Request) -> bytes:
            if left:
                request.setResponseCode(left.pop())
                return b""
            return good

        assert self.manager.local is not None
        await self.manager.local.update_sync_status("x", SyncStatus.PENDING_DOWNLOAD)
        self.resource.answer = answer
        await self.manager.fetch_missing()
        self.assertEqual((await self.manager.get("x")).read(), b"data")
        self.assertEqual(len(self.resource.requests), 7)

    async def test_a_page_for_a_moment(self) -> None:
        good = sealed(b"data", "x")
        pages = 0

        def answer(request: Request) -> bytes:
            nonlocal pages
            if pages:
                pages -= 1
                return b"<!DOCTYPE html><title>Locked</title>"
            request.setHeader("tag", write_tag(good[-16:]))
            return good

        self.resource.answer = answer
        assert self.manager.local is not None
        await self.manager.local.update_sync_status("x", SyncStatus.PENDING_DOWNLOAD)
        pages = 7
        for left in (4, 1):
            with self.assertRaises(ServerError):
                await self.manager.fetch_missing()
            self.assertEqual(pages, left)
            record = await self.manager.local.get_sync_status("x")
            self.assertEqual(record, (SyncStatus.PENDING_DOWNLOAD, 0))
        await self.manager.fetch_missing()
        self.assertEqual((await self.manager.get("x")).read(), b"data")

    async def test_token_is_sent_as_the_protocol_has_it(self) -> None:
        self.with_body(b"[]")
        await self.manager.remote_list("mail", "+date", True, "FAILED")
        (request,) = self.resource.requests
        self.assertEqual(request.getHeader("authorization"), "Token YWxpY2U6dG9rZW4=")
        self.assertEqual(
            {name: values for name, values in request.args.items() if values != [b""]},
            {
                b"namespace": [b"mail"],
                b"order_by": [b"+date"],
                b"deleted": [b"True"],
                b"filter_flag": [b"FAILED"],
            },
        )
        self.assertEqual(request.path, b"/blobs/alice/")
