"""Changes and namespaces, asked for at servers that are old, odd, slow or not there."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from blobman import CursorExpiredError, RetriableTransferError, ServerError, UnauthorizedError
from blobman.crypto import Seals
from blobman.errors import BlobError
from blobman.model import ChangesPage, RemoteChange
from blobman.protocol import MAX_CHANGES_SIZE, Subject
from blobman.remote import BlobsClient, Exchanges

from ..support import SECRET, USER
from .raw import RawServer, RawServerTestCase, Request

PAGE = b'{"changes": [["a"]], "cursor": "c2", "more": true}'


class ChangesTests(RawServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        exchanges = Exchanges(reactor, USER, "token")
        self.addCleanup(exchanges.close)
        self.remote = BlobsClient(exchanges, self.url, Seals(SECRET.encode(), USER))

    def answer(self, code: int, body: bytes, *lines: str) -> None:
        self.handle = lambda server, request: server.answer(code, body, *lines)

    async def test_what_is_asked(self) -> None:
        self.answer(200, PAGE)
        page = ChangesPage([RemoteChange("a")], "c2", True)
        self.assertEqual(await self.remote.changes(), page)
        self.assertEqual(await self.remote.changes("c.1", "mail", 50, 30), page)
        self.answer(200, b'{"namespaces": {"default": 1, "mail": 2}}')
        self.assertEqual(await self.remote.namespaces(), {"": 1, "mail": 2})
        self.assertEqual(
            [request.path.partition("?")[2] for request in self.requests],
            [
                "changes=start&limit=1000",
                "namespace=mail&changes=c.1&limit=50&wait=30",
                "namespaces=True",
            ],
        )

    async def test_an_old_server(self) -> None:
        for ids in ([], ["a", "b"], [f"{number:032}" for number in range(20_000)]):
            self.answer(200, json.dumps(ids).encode(), "Content-Type: text/html")
            self.assertEqual(await self.remote.changes("c.1", wait=60), ids)
            self.assertIsNone(await self.remote.namespaces())
        self.assertEqual(len(self.requests), 6)

    async def test_a_list_that_comes_in_pieces(self) -> None:
        def handle(server: RawServer, request: Request) -> None:
            server.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for byte in b' ["a", "b"]\n':
                server.say(b"1\r\n%c\r\n" % byte)
            server.say(b"0\r\n\r\n")

        self.handle = handle
        self.assertEqual(await self.remote.changes(), ["a", "b"])

    async def fails(self, kind: type[BlobError], *, may_pass: bool | None = None) -> None:
        for ask in (self.remote.changes, self.remote.namespaces):
            with self.assertRaises(BlobError) as caught:
                await ask()
            self.assertIs(type(caught.exception), kind, caught.exception)
            self.assertEqual(getattr(caught.exception, "may_pass", None), may_pass)

    async def test_what_is_no_answer(self) -> None:
        for body in (
            b"", b"<html>Please log in</html>", b"{}", b"[1]", b'["a', b"nothing", b'{"changes": [',
            PAGE[:-1], b'{"namespaces": {"a": -1}}', b"{" + b" " * MAX_CHANGES_SIZE * 5,
        ):  # fmt: skip
            self.answer(200, body)
            await self.fails(ServerError, may_pass=True)

    async def test_what_a_server_may_not_say(self) -> None:
        for body in (
            b'{"changes": [["a"], ["b"]], "cursor": "c2", "more": false}',
            b'{"changes": [], "cursor": "c1", "more": true}',
            b'{"changes": [["../a"]], "cursor": "c2", "more": false}',
        ):
            self.answer(200, body)
            with self.assertRaises(ServerError):
                await self.remote.changes("c1", limit=1)

    async def test_another_history(self) -> None:
        for lines, body in (
            (["Blobs-Answer: cursor-expired"], b"in other words"),
            ([], b"the cursor is of another history\n"),
        ):
            self.answer(410, body, *lines)
            with self.assertRaises(CursorExpiredError):
                await self.remote.changes("c1")
        # A stranger's word is not enough to compare everything.
        for lines, body in (([], b"Gone"), (["Blobs-Answer: refused"], b"Gone")):
            self.answer(410, body, *lines)
            await self.fails(ServerError, may_pass=not lines)

    async def test_other_refusals(self) -> None:
        self.answer(401, b"Unauthorized", "WWW-Authenticate: token")
        await self.fails(UnauthorizedError)
        self.answer(503, b"")
        await self.fails(RetriableTransferError)
        self.answer(400, b"", "Blobs-Answer: refused")
        await self.fails(ServerError, may_pass=False)

    async def test_cancelled(self) -> None:
        lost: list[object] = []

        def handle(server: RawServer, request: Request) -> None:
            server.connectionLost = lost.append  # type: ignore[method-assign, assignment]
            asking.cancel()

        self.handle = handle
        asking = self.remote.changes("c1", wait=60)
        await self.assertFailure(asking, CancelledError)
        self.handle = lambda server, request: server.answer(200, PAGE)
        await self.remote.changes()
        self.assertEqual(len(lost), 1)


class IdleTests(SynchronousTestCase):
    def test_a_wait_is_no_idleness(self) -> None:
        clock: Any = Clock()
        exchanges = Exchanges(clock, USER, "token", idle_timeout=10.0)

        async def nothing(idle: Any) -> None:
            await never

        for wait, seconds in ((0, 10), (60, 70)):
            never: Deferred[None] = Deferred()
            waiting = exchanges.run(Subject("list changes"), nothing, wait)
            clock.advance(seconds - 1)
            self.assertNoResult(waiting)
            clock.advance(1)
            error = self.failureResultOf(waiting, RetriableTransferError).value
            self.assertIn(f"{seconds} seconds", str(error))
