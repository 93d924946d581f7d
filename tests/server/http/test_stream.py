"""Many blobs in one request, up and down."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.trial.unittest import SynchronousTestCase, TestCase

from blobman.protocol import (
    FRAME_HEADER_SIZE,
    MAX_SEALED_SIZE,
    NOT_THERE,
    STREAM_RESULTS,
    ProtocolError,
    read_frame_header,
    read_results,
    write_authorization,
    write_ids,
    write_manifest,
    write_results,
)
from blobman.server.http import stream as streams
from blobman.server.http.body import Body
from blobman.server.http.stream import IDS_LIMIT, LINE_LIMIT, check_number
from blobman.server.http.stream_upload import StreamReader

from ..blobs import name, sealed
from ..serving import ServerMixin
from ..talk import Talk
from ..tampering import leftovers, replace

UP, DOWN = "stream/alice?direction=upload", "stream/alice?direction=download"


def stream_of(blobs: list[tuple[str, bytes]]) -> bytes:
    head = write_manifest((blob_id, len(content)) for blob_id, content in blobs)
    return head + b"".join(content for _, content in blobs)


def frames_in(body: bytes) -> list[bytes | None]:
    frames: list[bytes | None] = []
    while body:
        size, tag = read_frame_header(body[:FRAME_HEADER_SIZE])
        content = body[FRAME_HEADER_SIZE : FRAME_HEADER_SIZE + size]
        if (size, tag) == NOT_THERE:
            frames.append(None)
        else:
            assert (len(content), content[-16:]) == (size, tag)
            frames.append(content)
        body = body[FRAME_HEADER_SIZE + size :]
    return frames


class StreamTests(ServerMixin, TestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        await self.start_server()

    async def up(self, *blobs: tuple[str, bytes], path: str = UP) -> list[str]:
        answer = await self.expect(200, "POST", path, stream_of(list(blobs)))
        results = read_results(answer.body)
        self.assertEqual([blob_id for blob_id, _ in results], [blob_id for blob_id, _ in blobs])
        return [result for _, result in results]

    async def down(self, *ids: str, path: str = DOWN) -> list[bytes | None]:
        answer = await self.expect(200, "POST", path, json.dumps(ids).encode())
        return frames_in(answer.body)

    # -- up --------------------------------------------------------------------------

    async def test_up_and_down(self) -> None:
        sizes = [800, 100_000, 725, 64 * 1024, 64 * 1024 + 1, 3_000_000, 800]
        blobs = [(f"b{number}", sealed(str(number), size)) for number, size in enumerate(sizes)]
        self.assertEqual(await self.up(*blobs), ["created"] * len(blobs))
        self.assertEqual(await self.down(*dict(blobs)), [content for _, content in blobs])
        answer = await self.expect(200, "GET", "blobs/alice/")
        self.assertEqual(answer.json(), sorted(dict(blobs)))

    async def test_many_small_ones(self) -> None:
        blobs = [(f"b{number}", sealed(str(number), 10_000)) for number in range(300)]
        self.assertEqual(await self.up(*blobs), ["created"] * 300)
        self.assertEqual(await self.down(*dict(blobs)), [content for _, content in blobs])

    async def test_none(self) -> None:
        self.assertEqual(await self.up(), [])
        self.assertEqual(await self.down(), [])

    async def test_each_is_judged_by_itself(self) -> None:
        await self.up(("a", sealed("a")), ("large", sealed("large", 100_000)))
        await self.backend.catalogue.set_quota("alice", 201_600 + 800)
        results = await self.up(
            ("b", sealed("b")),
            ("a", sealed("other")),
            ("../x", sealed()),
            ("short", b"x" * 724),
            ("empty", b""),
            ("b", sealed("again")),
            ("large", sealed("other", 100_000)),
            ("large2", sealed("large2", 100_000)),
            ("large3", sealed("large3", 100_000)),
            ("c", sealed("c")),
            ("d", sealed("d")),
        )
        self.assertEqual(
            results,
            ["created", "exists", "invalid", "invalid", "invalid", "exists", "exists",
             "created", "quota", "created", "quota"],
        )  # fmt: skip
        self.assertEqual(
            await self.down("a", "b", "large2", "large3"),
            [sealed("a"), sealed("b"), sealed("large2", 100_000), None],
        )

    async def test_sizes_that_no_blob_can_have(self) -> None:
        """They are told so, and what came before them is kept."""
        for size in (MAX_SEALED_SIZE + 1, 2**63, 10**100):
            line = write_manifest([(f"before-{size}", len(sealed())), ("huge", size)])
            answer = await self.expect(400, "POST", UP, line + sealed() + bytes(1000))
            self.assertIn(b"the stream ends before its last blob does", answer.body)
            await self.expect(200, "GET", f"blobs/alice/before-{size}")
        await self.expect(404, "GET", "blobs/alice/huge")

    async def test_namespaces(self) -> None:
        await self.up(("a", sealed("a")), path=UP + "&namespace=mail")
        self.assertEqual(await self.down("a"), [None])
        self.assertEqual(await self.down("a", path=DOWN + "&namespace=mail"), [sealed("a")])

    async def test_a_stream_that_ends_early_keeps_what_came_whole(self) -> None:
        for size in (800, 100_000, 200_000):
            blobs = [(f"{size}-{number}", sealed(str(number), size)) for number in range(3)]
            data = stream_of(blobs)
            await self.expect(400, "POST", UP, data[:-1])
            self.assertEqual(await self.down(*dict(blobs)), [blobs[0][1], blobs[1][1], None])
        self.assertEqual(leftovers(self.root), [])

    async def test_a_stream_that_is_cut_keeps_what_came_whole(self) -> None:
        blobs = [(f"b{number}", sealed(str(number))) for number in range(3)]
        data = stream_of(blobs)
        talk = Talk()
        port = self.port.getHost().port
        await connectProtocol(HostnameEndpoint(reactor, "127.0.0.1", port), talk)
        credentials = write_authorization("alice", self.alice)
        talk.send(
            f"POST /{UP} HTTP/1.1\r\nHost: x\r\nAuthorization: {credentials}\r\n"
            f"Content-Length: {len(data)}\r\n\r\n".encode()
            + data[:-1]
        )
        while not self.site.channels or not next(iter(self.site.channels)).requests:
            await self.turn()
        (request,) = next(iter(self.site.channels)).requests
        while request.body.received < len(data) - 1:
            await self.turn()
        await talk.abort()
        while (await self.expect(200, "GET", "blobs/alice/")).json() != ["b0", "b1"]:
            await self.turn()

    def turn(self) -> Deferred[None]:
        deferred: Deferred[None] = Deferred()
        reactor.callLater(0, deferred.callback, None)
        return deferred

    async def test_bad_streams(self) -> None:
        for data in (
            b"", b"\n", b"{}\n", b"[[1, 2]]\n", b'[["a"]]\n', b'[["a", -1]]\n', b"[", b"\xff\n",
            b"[]\nmore", stream_of([("a", sealed())]) + b"x",
        ):  # fmt: skip
            await self.expect(400, "POST", UP, data)
        for data in (b"", b"{}", b"[1]", b'["../x"]', b'["a", null]', b"\xff"):
            await self.expect(400, "POST", DOWN, data)
        await self.expect(400, "POST", "stream/alice", b"[]")
        await self.expect(400, "POST", DOWN + "&namespace=..", b"[]")
        await self.expect(400, "POST", UP + "&namespace=../x", stream_of([("a", sealed())]))
        await self.expect(404, "POST", "stream/alice/a?direction=download", b"[]")
        await self.expect(405, "GET", DOWN)
        await self.expect(403, "POST", DOWN, b"[]", user="bob")
        await self.expect(401, "POST", DOWN, b"[]", token="wrong")

    async def test_limits(self) -> None:
        many = json.dumps(["a"] * 20_001).encode()
        await self.expect(413, "POST", DOWN, many)
        await self.expect(413, "POST", UP, json.dumps([["a", 0]] * 20_001).encode() + b"\n")
        await self.expect(413, "POST", DOWN, b" " * (6 * 1024 * 1024 + 1))

    async def test_what_would_take_long_is_not_parsed(self) -> None:
        def fail(_: bytes) -> None:
            self.fail("it was parsed")

        self.patch(streams, "read_ids", fail)
        self.patch(streams, "read_manifest", fail)
        for item in (b"[],", b"{},", b"[", b'{"":', b"1,", b'"a",'):
            body = b"[" + item * (6_000_000 // len(item))
            await self.expect(413, "POST", DOWN, body)
            await self.expect(413, "POST", UP, body + b"\n")

    async def test_as_much_as_there_may_be(self) -> None:
        ids = [f"{number:0254}" for number in range(20_000)]
        check_number(write_ids(ids), commas=IDS_LIMIT - 1, brackets=1)
        manifest = write_manifest((it, 2**40) for it in ids)
        check_number(manifest, commas=2 * IDS_LIMIT - 1, brackets=IDS_LIMIT + 1)
        self.assertLess(len(manifest), LINE_LIMIT)

    async def test_long_lines_that_are_held(self) -> None:
        admission = self.site.resource.children[b"stream"]._admission
        self.patch(admission, "_most_held", 3_000_000)
        endpoint = HostnameEndpoint(reactor, "127.0.0.1", self.port.getHost().port)
        talks = [Talk() for _ in range(3)]
        head = f"POST /{UP} HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\nAuthorization: "
        head += write_authorization("alice", self.alice) + "\r\n\r\n"
        for talk in talks[:2]:
            await connectProtocol(endpoint, talk)
            talk.send(head.encode() + b"[" + b" " * 1_400_000)
        while admission._held["alice"] < 2_800_000:
            await self.turn()
        await connectProtocol(endpoint, talks[2])
        talks[2].send(head.encode() + b"[" + b" " * 1_400_000)
        self.assertIn(b" 429 ", await talks[2].until(b"\r\n\r\n"))
        for talk in talks:
            await talk.abort()
        while admission._held:
            await self.turn()
        self.assertEqual(await self.up(("a", sealed())), ["created"])

    async def test_what_is_too_short_to_be_a_blob(self) -> None:
        await self.up(("a", sealed("a")), ("b", sealed("b")), ("c", sealed("c")))
        for blob_id, size in (("a", 0), ("b", 724)):
            replace(self.root, name(blob_id), sealed(blob_id)[:size])
        self.assertEqual(await self.down("a", "b", "c"), [None, None, sealed("c")])


class ResultsTests(SynchronousTestCase):
    def test_there_and_back(self) -> None:
        results = [(f"a{number}", result) for number, result in enumerate(STREAM_RESULTS)]
        self.assertEqual(read_results(write_results(results)), results)
        self.assertEqual(read_results(b"[]"), [])

    def test_what_is_none(self) -> None:
        for body in (b"", b"{}", b"null", b'[["a"]]', b'[["a", "lost"]]', b'[[1, "created"]]'):
            self.assertRaises(ProtocolError, read_results, body)


class ReaderTests(SynchronousTestCase):
    @given(st.binary(), st.lists(st.binary(max_size=20)), st.integers(1, 7))
    def test_cut_anywhere(self, line: bytes, blobs: list[bytes], step: int) -> None:
        line = line.replace(b"\n", b"")
        body = Body(None, lambda: None, lambda: None)
        reader = StreamReader(body)

        async def read() -> Any:
            first = await reader.read_line(1000)
            read = [await reader.read_exactly(len(blob)) for blob in blobs]
            await reader.expect_end()
            return first, read

        reading = Deferred.fromCoroutine(read())
        data = line + b"\n" + b"".join(blobs)
        for start in range(0, len(data), step):
            body.feed(data[start : start + step])
        body.end()
        self.assertEqual(self.successResultOf(reading), (line, blobs))

    def test_cut_short(self) -> None:
        body = Body(None, lambda: None, lambda: None)
        reader = StreamReader(body)
        body.feed(b"abc")
        body.end()
        self.failureResultOf(Deferred.fromCoroutine(reader.read_exactly(4)), ProtocolError)
