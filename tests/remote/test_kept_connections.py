"""Connections that ended while they were kept: what is asked next is asked again."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError

from blobman import BlobNotFoundError, RetriableTransferError
from blobman.protocol import write_tag

from ..support import MB, content, doc
from ..test_hostile_server import sealed
from .raw import RawServer, RawServerTestCase, Request


class KeptConnectionTests(RawServerTestCase):
    """
    The first request on a connection is answered; the next finds it dead.

    :ivar is_done_first: whether the server does what is asked before its connection dies.
    """

    is_done_first = False

    def setUp(self) -> None:
        super().setUp()
        self.blobs = {"x": sealed(b"data", "x")}
        self.handle = self.serve

    def serve(self, server: RawServer, request: Request) -> None:
        is_dead = request.number > 0
        if self.is_done_first or not is_dead:
            code, body, *lines = self.do(request)
        if is_dead:
            server.close()
        else:
            server.answer(code, body, *lines)

    def do(self, request: Request) -> tuple[Any, ...]:
        blob_id = request.path.removeprefix("/blobs/alice/").partition("?")[0]
        if not blob_id:
            return 200, b'{"count": 7}'
        if request.method == "PUT":
            if blob_id in self.blobs:
                return 409, f"Blob already exists: {blob_id}".encode()
            self.blobs[blob_id] = request.body
            return 200, b""
        if blob_id not in self.blobs:
            return 404, f"Blob doesn't exist: {blob_id}".encode()
        if request.method == "GET":
            blob = self.blobs[blob_id]
            if "Range: bytes=0-1" in request.lines:
                return 206, blob[:2], f"Tag: {write_tag(blob[-16:])}"
            return 200, blob, f"Tag: {write_tag(blob[-16:])}"
        if request.method == "DELETE":
            del self.blobs[blob_id]
        return 200, b""

    async def warm_up(self) -> None:
        """Have one connection kept, that will be dead."""
        await self.manager.count()
        self.requests.clear()

    async def test_put(self) -> None:
        for blob_id, size in (("small", 100), ("large", 3 * MB)):
            await self.warm_up()
            await self.manager.put(doc(content(size), blob_id), size)
            self.assertEqual(self.sent()[:2], ["PUT", "PUT"])
            self.assertEqual(self.requests[0].body, self.requests[1].body)
            self.assertEqual(self.blobs[blob_id], self.requests[0].body)
        self.assertEqual(await self.manager.sync_progress, {"SYNCED": 2})

    async def test_get(self) -> None:
        await self.warm_up()
        self.assertEqual((await self.manager.get("x")).read(), b"data")
        self.assertEqual(self.sent(), ["GET", "GET"])

    async def test_set_flags(self) -> None:
        await self.warm_up()
        await self.manager.set_flags("x", ["PENDING"])
        self.assertEqual([request.body for request in self.requests], [b'["PENDING"]'] * 2)

    async def test_delete(self) -> None:
        await self.warm_up()
        await self.manager.delete("x")
        self.assertEqual(self.sent(), ["DELETE", "DELETE"])
        self.assertEqual(self.blobs, {})

    async def test_delete_what_is_not_there(self) -> None:
        with self.assertRaises(BlobNotFoundError):
            await self.manager.delete("none")
        self.assertEqual(self.sent(), ["DELETE"])

    async def test_a_new_connection_that_dies_is_left_to_who_asked(self) -> None:
        self.handle = lambda server, request: server.close()
        with self.assertRaises(RetriableTransferError):
            await self.manager.count()
        with self.assertRaises(RetriableTransferError):
            await self.manager.put(doc(b"data", "y"), 4)
        self.assertEqual(self.sent(), ["GET", "PUT"])

    async def test_all_that_is_kept_is_dead(self) -> None:
        waiting: list[RawServer] = []

        def gather(server: RawServer, request: Request) -> None:
            waiting.append(server)
            if len(waiting) == 3:
                for each in waiting:
                    each.answer(*self.do(request))

        self.handle = gather
        for asking in [self.manager.count() for _ in range(3)]:
            await asking
        self.requests.clear()
        self.handle = self.serve
        await self.manager.put(doc(b"data", "y"), 4)
        self.assertEqual(self.sent()[:4], ["PUT"] * 4)
        self.assertEqual(await self.manager.sync_progress, {"SYNCED": 1})

    async def test_cancelled(self) -> None:
        await self.warm_up()
        self.handle = lambda server, request: putting.cancel()
        putting = self.manager.put(doc(b"data", "y"), 4)
        await self.assertFailure(putting, CancelledError)
        await self.manager.close()
        self.assertEqual(self.sent(), ["PUT"])


class AnswerLostTests(KeptConnectionTests):
    """It was not dead yet: the server did what was asked, and only the answer was lost."""

    is_done_first = True
