"""``/stream/``: many blobs in one request, either way."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from twisted.internet.threads import deferToThreadPool

from ...protocol import ProtocolError, read_ids, read_manifest, write_results
from ..storage.interface import SMALL, BlobName
from .answers import JSON_TYPE, PacedWriter, answer, check_present
from .frames import send_frames
from .refusals import Refusal
from .request import BlobsRequest
from .stream_upload import StreamReader, StreamUpload
from .users import Handler, Target, UserResource

_T = TypeVar("_T")

IDS_LIMIT = 20_000
"""The most ids in a stream."""

LINE_LIMIT = 6 * 1024 * 1024
"""The most bytes of a list of ids, or of the first line of an upload."""


class StreamResource(UserResource):
    """``/stream/``."""

    def handlers(self, parts: list[str]) -> dict[str, Handler]:
        """Know one place."""
        if parts not in ([], [""]):
            raise Refusal(404, "no such place")
        return {"POST": self._stream}

    async def _stream(self, request: BlobsRequest, target: Target) -> None:
        direction = target.fields.get("direction")
        if direction == "download":
            await self._download(request, target)
        elif direction == "upload":
            await self._upload(request, target)
        else:
            raise ProtocolError("direction must be upload or download")

    async def _download(self, request: BlobsRequest, target: Target) -> None:
        namespace = target.namespace
        with self._admission.holding(target.user) as hold:
            body = await request.body.read_all(LINE_LIMIT, hold)
            check_number(body, commas=IDS_LIMIT - 1, brackets=1)
            ids = await _parsed(request, read_ids, body)
            del body
            names = [BlobName(target.user, namespace, blob_id) for blob_id in ids]
            check_present(request)
            head = [("Content-Type", "application/octet-stream")]
            with PacedWriter(request, 200, head) as writer:
                await send_frames(writer, self._backend, names)

    async def _upload(self, request: BlobsRequest, target: Target) -> None:
        # It is checked for each blob; but if it is none, that is nobody's fault but the request's.
        _ = target.namespace
        reader = StreamReader(request.body)
        with self._admission.holding(target.user) as hold:
            line = await reader.read_line(LINE_LIMIT, hold)
            check_number(line, commas=2 * IDS_LIMIT - 1, brackets=IDS_LIMIT + 1)
            manifest = await _parsed(request, read_manifest, line)
            del line
            storing = StreamUpload(self._backend, reader)
            for blob_id, size in manifest:
                await storing.take(target, blob_id, size)
            await storing.store_batch()
            await reader.expect_end()
            await answer(request, 200, write_results(storing.results()), JSON_TYPE)


async def _parsed(request: BlobsRequest, parse: Callable[[bytes], _T], data: bytes) -> _T:
    """Parse a body; in a thread, if it is so large that others would have to wait."""
    if len(data) <= SMALL:
        return parse(data)
    return await deferToThreadPool(request.reactor, request.reactor.getThreadPool(), parse, data)


def check_number(data: bytes, commas: int, brackets: int) -> None:
    """
    Look whether a list can be parsed: what takes long, and much memory, are many values.

    :param commas: how many a list as long as allowed has.
    :param brackets: likewise.
    :raise Refusal: there are more (413).
    """
    if data.count(b",") > commas or data.count(b"[") + data.count(b"{") > brackets:
        raise Refusal(413, f"more than {IDS_LIMIT} blobs in a stream, or lists in a list")
