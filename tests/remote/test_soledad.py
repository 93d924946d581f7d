"""The client against what Soledad's server answers, to the letter."""

from __future__ import annotations

import io
import json
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

from blobman import (
    BlobAlreadyExistsError,
    BlobManager,
    BlobNotFoundError,
    InvalidFlagsError,
    RetriableTransferError,
    SyncStatus,
    UnauthorizedError,
)
from blobman.protocol import write_tag

from ..support import content, doc
from ..test_manager import status_of
from .raw import RawServer, RawServerTestCase, Request


class Soledad:
    """
    Answers as that server was recorded to: every body is chunked, and called HTML.

    :ivar blobs: sealed blobs by their ids.
    """

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.flags: dict[str, bytes] = {}
        self.tombstones: list[str] = []

    def handle(self, server: RawServer, request: Request) -> None:
        url = urlsplit(request.path)
        fields = {name: values[0] for name, values in parse_qs(url.query).items()}
        if "Authorization: Token YWxpY2U6dG9rZW4=" not in [
            line.replace("authorization", "Authorization") for line in request.lines
        ]:
            self.answer(server, 401, b"Unauthorized", "WWW-Authenticate: token")
        elif url.path.startswith("/stream/"):
            self.stream(server, request, fields)
        else:
            blob_id = url.path.removeprefix("/blobs/alice/")
            handlers: dict[str, Any] = {
                "GET": self.get if blob_id else self.list,
                "PUT": self.put,
                "POST": self.set_flags,
                "DELETE": self.delete,
            }
            handlers.get(request.method, self.unknown)(server, request, blob_id, fields)

    def answer(self, server: RawServer, code: int, body: bytes, *lines: str) -> None:
        head = [f"HTTP/1.1 {code} X", "Transfer-Encoding: chunked", "Content-Type: text/html"]
        chunk = b"%x\r\n%s\r\n" % (len(body), body) if body else b""
        said = "\r\n".join([*head, *lines]).encode() + b"\r\n\r\n" + chunk + b"0\r\n\r\n"
        server.say(said)

    def unknown(self, server: RawServer, *_: object) -> None:
        self.answer(server, 401, b"Unauthorized", "WWW-Authenticate: token")

    def missing(self, server: RawServer, blob_id: str) -> None:
        self.answer(server, 404, f"Blob doesn't exist: {blob_id}".encode())

    def list(self, server: RawServer, _: Request, __: str, fields: dict[str, str]) -> None:
        ids = self.tombstones if "deleted" in fields else sorted(self.blobs)
        found: object = {"count": len(ids)} if "only_count" in fields else ids
        self.answer(server, 200, json.dumps(found).encode())

    def get(
        self, server: RawServer, request: Request, blob_id: str, fields: dict[str, str]
    ) -> None:
        if blob_id not in self.blobs:
            self.missing(server, blob_id)
        elif "only_flags" in fields:
            self.answer(server, 200, self.flags.get(blob_id, b"[]"))
        else:
            self.send(server, request, self.blobs[blob_id])

    def send(self, server: RawServer, request: Request, blob: bytes) -> None:
        lines = [f"Tag: {write_tag(blob[-16:])}", "Content-Type: text/html"]
        wanted = re.search(r"Range: bytes=(\d+)-(\d+)", "\n".join(request.lines))
        if wanted is None:
            server.answer(200, blob, *lines)
        else:
            start, end = map(int, wanted.groups())
            part = f"Content-Range: bytes {start}-{end}/{len(blob)}"
            server.answer(206, blob[start:end], part, *lines)

    def put(self, server: RawServer, request: Request, blob_id: str, _: object) -> None:
        if blob_id in self.blobs:
            self.answer(server, 409, f"Blob already exists: {blob_id}".encode())
        else:
            self.blobs[blob_id] = request.body
            self.answer(server, 200, b"")

    def set_flags(self, server: RawServer, request: Request, blob_id: str, _: object) -> None:
        if blob_id not in self.blobs:
            self.missing(server, blob_id)
        elif b"PROCESSED" in request.body:
            self.answer(server, 406, b"Invalid flag: PROCESSED")
        else:
            self.flags[blob_id] = request.body
            self.answer(server, 200, b"")

    def delete(self, server: RawServer, _: Request, blob_id: str, __: object) -> None:
        if self.blobs.pop(blob_id, None) is None:
            self.missing(server, blob_id)
        else:
            self.tombstones.append(blob_id)
            self.answer(server, 200, b"")

    def stream(self, server: RawServer, request: Request, fields: dict[str, str]) -> None:
        line, _, rest = request.body.partition(b"\n")
        if fields["direction"] == "upload":
            for blob_id, size in json.loads(line):
                self.blobs[blob_id], rest = rest[:size], rest[size:]  # whatever was there
            self.answer(server, 200, b"")
        elif json.loads(line):
            server.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")  # and no more
        else:
            self.answer(server, 200, b"")


class SoledadTests(RawServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.server = Soledad()
        self.handle = self.server.handle

    async def test_each_operation(self) -> None:
        manager, data = self.manager, content(300_000)
        await manager.put(doc(data, "x"), len(data))
        self.assertEqual(await manager.remote_list(), ["x"])
        self.assertEqual(await manager.count(), {"count": 1})
        await manager.set_flags("x", ["PENDING"])
        self.assertEqual(await manager.get_flags("x"), ["PENDING"])
        with self.assertRaises(InvalidFlagsError):
            await manager.set_flags("x", ["PROCESSED"])
        phone = self.make_manager()
        self.assertEqual((await phone.get("x")).read(), data)
        self.assertTrue(await phone.verify("x"))
        await phone.sync()
        await manager.delete("x")
        await phone.sync()
        self.assertEqual(await phone.local_list(), [])

    async def test_what_is_not_there(self) -> None:
        for ask in (
            self.manager.get,
            self.manager.get_flags,
            self.manager.delete,
            lambda blob_id: self.manager.set_flags(blob_id, ["PENDING"]),
        ):
            with self.assertRaises(BlobNotFoundError):
                await ask("none")

    async def test_a_conflict(self) -> None:
        await self.manager.put(doc(b"first", "x"), 5)
        phone = self.make_manager()
        with self.assertRaises(BlobAlreadyExistsError):
            await phone.put(doc(b"second", "x"), 6)
        self.assertIs(await status_of(phone, "x"), SyncStatus.FAILED_UPLOAD)

    async def test_the_answer_to_a_put_is_lost(self) -> None:
        # The tag has to be asked for, and this server knows no HEAD.
        def lose(server: RawServer, request: Request) -> None:
            if request.method == "PUT":
                self.server.blobs["x"] = request.body
                server.close()
            else:
                self.server.handle(server, request)

        self.handle = lose
        with self.assertRaises(RetriableTransferError):
            await self.manager.put(doc(b"data", "x"), 4)
        self.handle = self.server.handle
        await self.manager.sync()
        self.assertIs(await status_of(self.manager, "x"), SyncStatus.SYNCED)

    async def test_what_is_compared_by_its_content(self) -> None:
        await self.manager.put(doc(b"data", "x"), 4)
        phone = self.make_manager()
        assert phone.local is not None
        await phone.local.put("x", io.BytesIO(b"data"), 4)
        await phone.sync()
        self.assertIs(await status_of(phone, "x"), SyncStatus.SYNCED)

    async def test_its_streams_are_left_alone(self) -> None:
        stream = self.url.replace("blobs", "stream")
        laptop = self.make_manager(remote_stream=stream)
        for number in range(3):
            await laptop.put(doc(b"laptop", f"x{number}"), 6)
        phone = self.make_manager(remote_stream=stream)
        with self.assertRaises(BlobAlreadyExistsError):
            await phone.put(doc(b"phone", "x0"), 5)
        await self.make_manager(remote_stream=stream).sync()
        self.assertEqual((await phone.get("x1")).read(), b"laptop")
        with self.assertRaises(BlobNotFoundError):
            await phone.get("none")
        streams = [request.body for request in self.requests if "/stream" in request.path]
        self.assertEqual(streams, [b"[]\n"] * 3)

    async def test_a_wrong_token(self) -> None:
        stranger: BlobManager = self.make_manager(token="wrong")
        with self.assertRaises(UnauthorizedError):
            await stranger.sync()
