"""A server whose streams are not what they should be."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
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
from blobman.protocol import NOT_THERE, write_frame_header, write_tag

from .support import KEY, SECRET, USER, content, doc
from .test_hostile_server import ScriptedTestCase, sealed
from .test_manager import status_of


def frame(blob: bytes) -> bytes:
    return write_frame_header(len(blob), blob[-16:]) + blob


def _body_of(request: Request, read: Callable[[Any], Any]) -> Any:
    return read(request.content)


class StreamTests(ScriptedTestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
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

    def streams(self, body: bytes, code: int = 200) -> None:
        """Answer streams with this, and everything else as a server that has nothing."""

        def answer(request: Request) -> bytes:
            if request.path.startswith(b"/stream"):
                request.setResponseCode(code)
                return body
            request.setResponseCode(404)
            return b""

        self.resource.answer = answer

    async def expect(self, kind: type[Exception], *blob_ids: str) -> None:
        for getting in [self.manager.get(blob_id) for blob_id in blob_ids]:
            with self.assertRaises(kind):
                await getting

    async def test_refused(self) -> None:
        for code, kind in {
            401: UnauthorizedError,
            403: UnauthorizedError,
            404: ServerError,
            405: ServerError,
            413: ServerError,
            503: RetriableTransferError,
        }.items():
            self.streams(b"", code)
            await self.expect(kind, f"x{code}")
            with self.assertRaises(kind):
                await self.manager.put(doc(b"data", f"y{code}"), 4)
            self.assertIs(await status_of(self.manager, f"y{code}"), SyncStatus.PENDING_UPLOAD)

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
        permits = self.manager._transfers.permits
        self.manager.concurrent_transfers_limit = 1
        permits.acquire(4)
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

    async def test_a_server_that_says_nothing_of_each_blob(self) -> None:
        # As Soledad's: each is then settled by its tag.
        for number, body in enumerate((b"", b"OK", b"[]", b'[["other", "created"]]')):

            def answer(request: Request, body: bytes = body) -> bytes:
                if request.method == b"POST":
                    return body
                if request.method == b"PUT":
                    self.tag = _body_of(request, lambda body: body.read()[-16:])
                    request.setResponseCode(409)
                else:
                    request.setHeader("tag", write_tag(self.tag))
                return b""

            self.resource.answer = answer
            await self.manager.put(doc(b"data", f"x{number}"), 4)
            self.assertIs(await status_of(self.manager, f"x{number}"), SyncStatus.SYNCED)
