"""Lists as JSON: page by page, as they are read."""

from __future__ import annotations

from collections.abc import Sequence

from ..storage import Pages
from .answers import JSON_TYPE, PacedWriter, answer, set_head
from .request import BlobsRequest


async def send_list(request: BlobsRequest, pages: Pages) -> None:
    """
    Answer with a list. Unless it has only one page, it comes in chunks, without a length.

    :raise ClientGoneError: the connection has ended.
    :raise StoreError: it can't be read.
    """
    page = await _next(pages) or []
    ahead = await _next(pages)
    if ahead is None:
        await answer(request, 200, b"[" + _write(page) + b"]", JSON_TYPE)
        return
    head = [("Content-Type", JSON_TYPE)]
    if request.method == b"HEAD":
        set_head(request, 200, head)
        request.finish()
        return
    with PacedWriter(request, 200, head) as writer:
        writer.write(b"[" + _write(page))
        while ahead is not None:
            await writer.drained()
            writer.write(b", " + _write(ahead))
            ahead = await _next(pages)
        await writer.drained()
        writer.write(b"]")
        writer.finish()


async def _next(pages: Pages) -> list[str] | None:
    """Read the next page; None if there is none."""
    # Not ``anext`` with a default, which some Pythons can't suspend.
    async for page in pages:
        return page
    return None


def _write(ids: Sequence[str]) -> bytes:
    # Ids have no character that JSON would escape.
    return ('"' + '", "'.join(ids) + '"').encode("ascii") if ids else b""
