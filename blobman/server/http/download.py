"""One blob's way out, whole or a range of it."""

from __future__ import annotations

from twisted.internet.defer import CancelledError

from ...protocol import TAG_SIZE, ProtocolError, read_range, write_tag
from ..storage.interface import IStoredBlob
from .answers import PacedWriter, answer, check_present, set_head
from .body import ClientGoneError
from .refusals import Refusal
from .request import BlobsRequest


async def send_blob(request: BlobsRequest, blob: IStoredBlob) -> None:
    """
    Answer with a blob, or the range of it that is asked for; close it at the end.

    :raise Refusal: there is nothing in the range.
    :raise ClientGoneError: the connection has ended.
    :raise StoreError: the blob can't be read.
    """
    try:
        await request.take_small_rest()
        check_present(request)
        part = _read_range(request, blob.size)
        start, end = part or (0, blob.size)
        code, headers = 206 if part else 200, _headers(blob, part)
        if blob.content is not None:
            await answer(request, code, blob.content[start:end], headers=headers)
            return
        headers.append(("Content-Length", str(end - start)))
        if request.method == b"HEAD":
            set_head(request, code, headers)
            request.finish()
            return
        with PacedWriter(request, code, headers) as writer:
            await send_part(writer, blob, start, end)
            writer.finish()
    finally:
        blob.close()


def _headers(blob: IStoredBlob, part: tuple[int, int] | None) -> list[tuple[str, str]]:
    headers = [("Accept-Ranges", "bytes"), ("Content-Type", "application/octet-stream")]
    if part:
        headers.append(("Content-Range", f"bytes {part[0]}-{part[1] - 1}/{blob.size}"))
    if len(blob.tag) == TAG_SIZE:
        headers.append(("Tag", write_tag(blob.tag)))
    return headers


def _read_range(request: BlobsRequest, size: int) -> tuple[int, int] | None:
    # Only a GET has ranges; and an answer has no validator, so that no condition on one holds.
    if request.method != b"GET" or request.requestHeaders.hasHeader(b"if-range"):
        return None
    header = request.single_header("Range")
    if header is None:
        return None
    try:
        return read_range(header, size)
    except ProtocolError as error:
        raise Refusal(416, str(error), [("Content-Range", f"bytes */{size}")]) from error


async def send_part(writer: PacedWriter, blob: IStoredBlob, start: int, end: int) -> None:
    """
    Send the bytes from ``start`` to before ``end``.

    :raise ClientGoneError: the connection has ended.
    :raise StoreError: the blob can't be read.
    """
    try:
        await blob.write_to(writer, start, end)
    except CancelledError as error:
        # The writer stops it when the connection ends, and nobody else does.
        raise ClientGoneError from error
    await writer.drained()
