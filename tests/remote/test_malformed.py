"""Answers that are not as HTTP has them, or that have no length: only our errors come of them."""

from __future__ import annotations

from typing import Any

from blobman import BlobError, RetriableTransferError, ServerError, SyncStatus
from blobman.protocol import write_frame_header, write_tag
from blobman.wire.pool import MAX_HEAD_SIZE

from ..support import MB, content, doc
from ..test_hostile_server import sealed
from ..test_manager import status_of
from .raw import RawServer, RawServerTestCase, Request

OK = b"HTTP/1.1 200 OK\r\n"


class MalformedTests(RawServerTestCase):
    async def check(self, said: bytes, kind: type[BlobError], words: str = "") -> None:
        """Whatever is asked ends with that error, and the message says for what."""

        def handle(server: RawServer, request: Request) -> None:
            server.say_and_close(said)

        self.handle = handle
        asks: dict[str, Any] = {
            "count": self.manager.count,
            "list": self.manager.remote_list,
            "put": lambda: self.manager.put(doc(b"data"), 4),
            "get": lambda: self.manager.get("x"),
            "set": lambda: self.manager.set_flags("x", ["PENDING"]),
        }
        for action, ask in asks.items():
            with self.assertRaises(BlobError) as caught:
                await ask()
            self.assertIsInstance(caught.exception, kind, said[:100])
            self.assertIn(action, str(caught.exception))
            self.assertIn(words, str(caught.exception))
        self.assertEqual(
            await self.manager.sync_progress,
            {"PENDING_DOWNLOAD": 1, "PENDING_UPLOAD": len(await self.manager.local_list())},
        )

    async def test_headers(self) -> None:
        for line in (
            b"Content-Length: many",
            b"Content-Length: -1",
            b"Content-Length: 1\r\nContent-Length: 2",
            b"Content-Length: \xb2",
            b"Transfer-Encoding: gzip",
            b"no colon",
        ):
            await self.check(OK + line + b"\r\n\r\n{}", ServerError, "not HTTP")

    async def test_first_lines(self) -> None:
        for line in (b"HTTP/1.1 OK", b"HTTP/x.y 200 OK", b"SSH-2.0-OpenSSH", b"HTTP/1.1 2OO OK"):
            await self.check(line + b"\r\n\r\n", ServerError, "not HTTP")

    async def test_a_long_login_page(self) -> None:
        page = b"<html>" + 5000 * b"<p>Please log in</p>"
        for header in (b"", b"Tag: AAAAAAAAAAAAAAAAAAAAAA==\r\n"):
            said = OK + header + b"Content-Length: %d\r\n\r\n" % len(page) + page
            await self.check(said, ServerError, "HTML instead of")

    async def test_who_broke_off(self) -> None:
        await self.check(OK + b"Content-Length: 9\r\n\r\n", RetriableTransferError, "127.0.0.1:")

    async def test_chunks(self) -> None:
        chunked = OK + b"Transfer-Encoding: chunked\r\n\r\n"
        for body in (
            b"xyz\r\n{}\r\n0\r\n\r\n",
            b"-1\r\n",
            b"2\r\n{}..",
            b"2\r\n{}\r\n" + b"f" * 9999,
        ):
            await self.check(chunked + body, ServerError)

    async def test_chunks_that_are_cut(self) -> None:
        chunked = OK + b"Transfer-Encoding: chunked\r\n\r\n"
        for body in (b"", b"2\r\n", b"2\r\n[", b"2\r\n[]\r\n", b"2\r\n[]\r\n0\r\n"):
            await self.check(chunked + body, RetriableTransferError)

    async def test_lengths_that_are_cut(self) -> None:
        await self.check(OK + b"Content-Length: 100\r\n\r\n[]", RetriableTransferError)

    async def test_headers_without_an_end(self) -> None:
        line = b"X-Padding: " + b"x" * 1000 + b"\r\n"
        many = line * (MAX_HEAD_SIZE // len(line) + 1)
        await self.check(OK + many, ServerError, f"longer than {MAX_HEAD_SIZE} bytes")
        hints = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        await self.check(hints * 5000, ServerError, f"longer than {MAX_HEAD_SIZE} bytes")
        # A single line of that length Twisted refuses by itself.
        await self.check(OK + b"X: " + b"x" * MAX_HEAD_SIZE, BlobError)

    async def test_a_long_body_after_the_headers_is_none_of_them(self) -> None:
        ids = b'["' + b'","'.join(b"%032x" % number for number in range(10_000)) + b'"]'
        self.handle = lambda server, request: server.answer(200, ids)
        self.assertEqual(len(await self.manager.remote_list()), 10_000)

    async def test_a_tag_that_is_no_text(self) -> None:
        def handle(server: RawServer, request: Request) -> None:
            if request.method == "PUT":
                server.answer(409, b"Blob already exists: x")
            else:
                server.answer(206, b"Ez", "Tag: \xff\xfe")

        self.handle = handle
        with self.assertRaises(ServerError):
            await self.manager.put(doc(b"data", "x"), 4)
        self.assertIs(await status_of(self.manager, "x"), SyncStatus.PENDING_UPLOAD)


class WordlessTests(RawServerTestCase):
    async def test_a_server_that_has_words_does_not_drop_them(self) -> None:
        def handle(server: RawServer, request: Request) -> None:
            lines = () if request.method != "GET" else ("Blobs-Answer: done",)
            server.answer(200, b'{"count": 0}' if lines else b"", *lines)

        self.handle = handle
        # An empty answer is all that Soledad's server says.
        await self.manager.put(doc(b"data", "first"), 4)
        await self.manager.count()
        for ask in (
            lambda: self.manager.put(doc(b"data", "x"), 4),
            lambda: self.manager.set_flags("first", []),
            lambda: self.manager.delete("first"),
        ):
            with self.assertRaises(ServerError) as caught:
                await ask()
            self.assertTrue(caught.exception.may_pass)
        self.assertEqual(
            await self.manager.sync_progress, {"PENDING_UPLOAD": 1, "PENDING_DELETE": 1}
        )


class StreamsWithoutLengthTests(RawServerTestCase):
    """A stream that ends with its connection: what is in it tells whether it came whole."""

    def setUp(self) -> None:
        super().setUp()
        self.manager = self.make_manager(remote_stream=self.url.replace("blobs", "stream"))
        blob = sealed(content(2000), "x")
        self.whole = write_frame_header(len(blob), blob[-16:]) + blob
        self.cut: int | None = None
        self.handle = self.serve

    def serve(self, server: RawServer, request: Request) -> None:
        if request.body == b"[]\n":
            server.answer(200, b"[]")
        elif request.path.startswith("/stream"):
            server.say_and_close(b"HTTP/1.0 200 OK\r\n\r\n" + self.whole[: self.cut])
        else:
            server.answer(404, b"no such blob\n")

    async def test_no_streams_there(self) -> None:
        self.handle = lambda server, request: server.answer(404, b"<html>" + b" " * 20_000)
        for _ in range(3):
            with self.assertRaises(ServerError) as caught:
                await self.manager.get("x")
            self.assertIn("no streams there (404)", str(caught.exception))
            self.assertTrue(caught.exception.may_pass)
        # The answers have been read, so that one connection has done.
        self.assertEqual([request.number for request in self.requests], [0, 1, 2])

    async def test_whole(self) -> None:
        self.assertEqual((await self.manager.get("x")).read(), content(2000))

    async def test_cut(self) -> None:
        assert self.manager.local is not None
        for self.cut in (0, 5, 33, 1000, 2780):
            with self.assertRaises(RetriableTransferError) as caught:
                await self.manager.get("x")
            self.assertIn("cut", str(caught.exception))
            record = await self.manager.local.get_sync_status("x")
            self.assertEqual(record, (SyncStatus.PENDING_DOWNLOAD, 0))
        self.assertEqual(await self.manager.local_list(), [])


class WithoutLengthTests(RawServerTestCase):
    """Answers that end with their connection, as those of HTTP/1.0 do."""

    cut: int | None = None

    def setUp(self) -> None:
        super().setUp()
        self.blob = sealed(content(MB), "x")
        self.handle = self.serve

    def serve(self, server: RawServer, request: Request) -> None:
        body, lines = b"", ""
        if request.path == "/blobs/alice/?only_count=True":
            body = b'{"count": 1}'
        elif request.path == "/blobs/alice/x?only_flags=True":
            body = b'["PENDING"]'
        elif request.path == "/blobs/alice/":
            body = b'["x"]'
        elif request.method == "GET":
            body, lines = self.blob, f"Tag: {write_tag(self.blob[-16:])}\r\n"
        head = f"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n{lines}\r\n".encode()
        server.say_and_close(head + body[: self.cut])

    async def test_everything_works(self) -> None:
        self.assertEqual(await self.manager.count(), {"count": 1})
        self.assertEqual(await self.manager.remote_list(), ["x"])
        self.assertEqual(await self.manager.get_flags("x"), ["PENDING"])
        await self.manager.set_flags("x", [])
        await self.manager.put(doc(b"data", "y"), 4)
        self.assertEqual((await self.manager.get("x")).read(), content(MB))
        await self.manager.delete("x")

    async def test_what_is_cut_is_refused(self) -> None:
        for self.cut in (0, 1, 5):
            for ask in (self.manager.count, self.manager.remote_list):
                if ask == self.manager.remote_list and self.cut == 5:
                    continue
                with self.assertRaises(ServerError) as caught:
                    await ask()
                self.assertTrue(caught.exception.may_pass)
        size = len(self.blob)
        for self.cut in (0, 1, 700, 800, 500_000, size - 1):
            with self.assertRaises(RetriableTransferError) as cut:
                await self.manager.get("x")
            self.assertIn("cut", str(cut.exception))
            assert self.manager.local is not None
            self.assertEqual(
                await self.manager.local.get_sync_status("x"), (SyncStatus.PENDING_DOWNLOAD, 0)
            )
        self.assertEqual(await self.manager.local_list(), [])
