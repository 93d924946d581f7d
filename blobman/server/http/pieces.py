"""Long answers of JSON, sent piece by piece as they are read."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from .answers import JSON_TYPE, PacedWriter, answer, set_head
from .request import BlobsRequest

Pieces = AsyncGenerator[bytes, None]


async def send_pieces(request: BlobsRequest, pieces: Pieces) -> None:
    """
    Answer with JSON. Unless it has only one piece, it comes in chunks, without a length.

    :param pieces: at least one. They are closed at the end.
    :raise ClientGoneError: the connection has ended.
    :raise StoreError: they can't be read.
    """
    async with aclosing(pieces):
        piece = await _next(pieces) or b""
        ahead = await _next(pieces)
        if ahead is None:
            await answer(request, 200, piece, JSON_TYPE)
            return
        head = [("Content-Type", JSON_TYPE)]
        if request.method == b"HEAD":
            set_head(request, 200, head)
            request.finish()
            return
        with PacedWriter(request, 200, head) as writer:
            writer.write(piece)
            while ahead is not None:
                await writer.drained()
                writer.write(ahead)
                ahead = await _next(pieces)
            await writer.drained()
            writer.finish()


async def framed(head: bytes, parts: Pieces, tail: Callable[[], bytes]) -> Pieces:
    """
    Put a frame around parts, and commas between them.

    :param parts: none but the first is empty. They are closed at the end.
    :param tail: gives the end, when all have been read.
    :return: pieces, one for each part; one if there is none.
    """
    async with aclosing(parts):
        piece, separator = head, b""
        async for part in parts:
            if separator:
                yield piece
                piece = b""
            piece += separator + part
            separator = b", "
        yield piece + tail()


async def _next(pieces: Pieces) -> bytes | None:
    """Read the next piece; None if there is none."""
    # Not ``anext`` with a default, which some Pythons can't suspend.
    async for piece in pieces:
        return piece
    return None
