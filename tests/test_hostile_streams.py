"""A server whose streams are not what they should be."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import DeferredList
from twisted.web.server import NOT_DONE_YET, Request

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
from blobman.protocol import (
    NOT_THERE,
    read_manifest,
    write_frame_header,
    write_results,
    write_tag,
)

from .support import KEY, SECRET, USER, content, doc, engine_of
from .test_hostile_server import ScriptedTestCase, sealed
from .test_manager import status_of

NONE: Mapping[str, str] = {}


def frame(blob: bytes) -> bytes:
    return write_frame_header(len(blob), blob[-16:]) + blob


def _body_of(request: Request, read: Callable[[Any], Any]) -> Any:
    return read(request.content)


class StreamTests(ScriptedTestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.resource.empty_stream = b"[]"
        await self.manager.close()
        self.manager = BlobManager(
            os.path.abspath(self.mktemp()),
            self.manager.remote,
            KEY,
            SECRET,
            USER,
            "token",
            None,
            str(self.manager.remote).replace("blobs", "stream"),
            jitter=lambda _: 0.0,
        )
        self.addCleanup(self.manager.close)

    def streams(self, body: bytes, code: int = 200, headers: Mapping[str, str] = NONE) -> None:
        """Answer streams with this, and everything else as a server that has nothing."""

        def answer(request: Request) -> bytes:
            if request.path.startswith(b"/stream"):
                request.setResponseCode(code)
                for name, value in headers.items():
                    request.setHeader(name, value)
                return body
            request.setResponseCode(404)
            return b"no such blob\n"

        self.resource.answer = answer

    async def expect(self, kind: type[Exception], *blob_ids: str) -> None:
        for getting in [self.manager.get(blob_id) for blob_id in blob_ids]:
            with self.assertRaises(kind):
                await getting

    async def test_refused(self) -> None:
        unauthorized, forbidden = b"a valid token is needed\n", b"this is another user's\n"
        for code, body, kind in (
            (401, unauthorized, UnauthorizedError),
            (403, forbidden, UnauthorizedError),
            (401, b"<html>", ServerError),
            (404, b"", ServerError),
            (405, b"", ServerError),
            (503, b"", RetriableTransferError),
        ):
            self.streams(body, code, {"WWW-Authenticate": "Token"} if body == unauthorized else {})
            await self.expect(kind, f"x{code}")
            name = f"y{code}-{len(body)}"
            with self.assertRaises(kind):
                await self.manager.put(doc(b"data", name), 4)
            self.assertIs(await status_of(self.manager, name), SyncStatus.PENDING_UPLOAD)

    async def test_frames_that_are_none(self) -> None:
        for number, body in enumerate((b"x" * 33, b"0000000g" + b"A" * 24 + b" ", b"\0" * 100)):
            self.streams(body)
            await self.expect(ServerError, f"x{number}")

    async def test_more_frames_than_asked_for(self) -> None:
        good = frame(sealed(b"data", "x"))
        self.streams(good + good)
        found = await self.manager.get("x")
        self.assertEqual(found.read(), b"data")

    async def test_a_frame_of_another_blob(self) -> None:
        self.streams(frame(sealed(b"data", "other")))
        # The next attempts are made alone, and find nothing.
        await self.expect(BlobNotFoundError, "x")
        self.assertEqual(await self.manager.sync_progress, {})

    async def test_frames_that_lie_about_their_size(self) -> None:
        blob = sealed(content(1000), "x")
        for wrong in (len(blob) - 1, len(blob) + 1, 5):
            self.streams(write_frame_header(wrong, blob[-16:]) + blob)
            with self.assertRaises((ServerError, BlobNotFoundError)):
                await self.manager.get("x")
            self.assertEqual(await self.manager.local_list(), [])

    async def test_an_empty_frame_is_not_an_empty_blob(self) -> None:
        self.streams(write_frame_header(0, b"t" * 16))
        await self.expect(BlobNotFoundError, "x")
        self.assertEqual(await self.manager.local_list(), [])

    async def test_not_there(self) -> None:
        self.streams(write_frame_header(*NOT_THERE))
        await self.expect(BlobNotFoundError, "x")
        self.assertEqual(await self.manager.sync_progress, {})

    async def test_cut_in_the_middle(self) -> None:
        blobs = {f"x{number}": sealed(content(1000), f"x{number}") for number in range(3)}

        def answer(request: Request) -> Any:
            whole = b"".join(frame(blobs[blob_id]) for blob_id in _body_of(request, json.load))
            request.setHeader("content-length", str(len(whole)))
            request.write(whole[: len(whole) * 3 // 4])
            request.transport.loseConnection()  # type: ignore[union-attr]
            return NOT_DONE_YET

        assert self.manager.local is not None
        for blob_id in blobs:
            await self.manager.local.update_sync_status(blob_id, SyncStatus.PENDING_DOWNLOAD)
        self.resource.answer = answer
        permits = engine_of(self.manager).permits
        self.manager.concurrent_transfers_limit = 1
        self.assertTrue(permits.take())
        getting = [self.manager.get(blob_id) for blob_id in blobs]
        while await self.manager.sync_progress != {"PENDING_DOWNLOAD": 3}:
            pass
        await self.manager.local_list()
        permits.release()
        results = await DeferredList(getting, consumeErrors=True)
        failures: list[Any] = [result for succeeded, result in results if not succeeded]
        self.assertTrue(failures)
        for failure in failures:
            self.assertIs(failure.type, RetriableTransferError)
            self.assertRegex(failure.getErrorMessage(), r"^get blob 'x\d': ")
        progress = {"SYNCED": 3 - len(failures), "PENDING_DOWNLOAD": len(failures)}
        self.assertEqual(await self.manager.sync_progress, {k: n for k, n in progress.items() if n})

    async def test_one_that_does_not_verify(self) -> None:
        bad = bytearray(sealed(content(1000), "x"))
        bad[-1] ^= 1

        def answer(request: Request) -> bytes:
            request.setHeader("tag", write_tag(bytes(bad[-16:])))
            return frame(bytes(bad)) if request.method == b"POST" else bytes(bad)

        self.resource.answer = answer
        await self.expect(MaximumRetriesError, "x")
        assert self.manager.local is not None
        self.assertEqual(
            await self.manager.local.get_sync_status("x"), (SyncStatus.FAILED_DOWNLOAD, 3)
        )

    async def test_results(self) -> None:
        for result, kind in {"quota": QuotaExceededError, "invalid": ServerError}.items():
            self.streams(json.dumps([[result, result]]).encode())
            with self.assertRaises(kind):
                await self.manager.put(doc(b"data", result), 4)

    def stores(self, results: bytes) -> None:
        """Take what comes alone, as one that has it already; answer this to an upload stream."""

        def answer(request: Request) -> bytes:
            if request.method == b"POST":
                return results
            if request.method == b"PUT":
                self.tag = _body_of(request, lambda body: body.read()[-16:])
                request.setResponseCode(409)
                return request.path.replace(b"/blobs/alice/", b"Blob already exists: ")
            request.setHeader("tag", write_tag(self.tag))
            return b""

        self.resource.answer = answer

    async def test_a_server_that_says_nothing_of_each_blob(self) -> None:
        for number, body in enumerate((b"[]", b'[["other", "created"]]')):
            self.stores(body)
            await self.manager.put(doc(b"data", f"x{number}"), 4)
            self.assertIs(await status_of(self.manager, f"x{number}"), SyncStatus.SYNCED)

    async def test_a_page_instead_of_results(self) -> None:
        for body in (b"<html>", b"OK", b'{"x": 1}'):
            self.stores(body)
            with self.assertRaises(ServerError) as caught:
                await self.manager.put(doc(b"data"), 4)
            self.assertTrue(caught.exception.may_pass)
        self.assertEqual(await self.manager.sync_progress, {"PENDING_UPLOAD": 3})

    # -- whether there are streams -----------------------------------------------------

    def asked(self) -> list[bytes]:
        return [request.method for request in self.resource.requests if b"/stream" in request.path]

    async def test_soledad_has_others(self) -> None:
        self.resource.empty_stream = b""
        self.stores(b"")
        for number in range(3):
            await self.manager.put(doc(b"data", f"x{number}"), 4)
        blob = sealed(b"data", "y")
        self.with_body(blob, tag=write_tag(blob[-16:]))
        self.assertEqual((await self.manager.get("y")).read(), b"data")
        self.assertEqual(self.asked(), [b"POST"])
        self.assertEqual(await self.manager.sync_progress, {"SYNCED": 4})

    async def test_ours_is_asked_once(self) -> None:
        self.stores(json.dumps([["x", "created"], ["y", "created"]]).encode())
        for name in ("x", "y"):
            await self.manager.put(doc(b"data", name), 4)
        self.assertEqual(self.asked(), [b"POST"] * 3)

    async def test_nothing_is_decided_by_what_passes(self) -> None:
        for code, body, kind in (
            (200, b"<html>", ServerError),
            (200, b'[["other", "created"]]', ServerError),
            (503, b"", RetriableTransferError),
        ):
            self.resource.empty_stream = None
            self.streams(body, code)
            with self.assertRaises(kind):
                await self.manager.put(doc(b"data"), 4)
        self.resource.empty_stream = b"[]"
        self.stores(json.dumps([["x", "created"]]).encode())
        await self.manager.put(doc(b"data", "x"), 4)
        self.assertIs(await status_of(self.manager, "x"), SyncStatus.SYNCED)

    async def test_a_proxy_that_takes_no_long_bodies(self) -> None:
        def answer(request: Request) -> bytes:
            if not request.path.startswith(b"/stream"):
                return b""
            body = _body_of(request, lambda body: body.read())
            if len(body) > 50_000:
                request.setResponseCode(413)
                return b"<html>nginx</html>"
            ((blob_id, _),) = read_manifest(body.partition(b"\n")[0])
            return write_results([(blob_id, "created")])

        self.resource.answer = answer
        for blob_id, size in (("a", 60_000), ("b", 70_000), ("c", 5_000)):
            await self.manager.put(doc(content(size), blob_id), size)
        self.assertEqual(await self.manager.sync_progress, {"SYNCED": 3})
        # The question, the one that was too long, and the short one.
        self.assertEqual(self.asked(), [b"POST"] * 3)
