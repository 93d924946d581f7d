"""Lists of ids and of namespaces as JSON: page by page, as they are read."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing

from ...protocol import write_namespaces
from ..storage.interface import Namespaces, Pages
from .pieces import Pieces, framed, send_pieces
from .request import BlobsRequest


async def send_list(request: BlobsRequest, pages: Pages) -> None:
    """
    Answer with a list.

    :raise ClientGoneError: the connection has ended.
    :raise StoreError: it can't be read.
    """
    await send_pieces(request, framed(b"[", _write_list(pages), lambda: b"]"))


async def _write_list(pages: Pages) -> Pieces:
    async with aclosing(pages):
        async for page in pages:
            yield _write(page)


def _write(ids: Sequence[str]) -> bytes:
    # Ids have no character that JSON would escape.
    return ('"' + '", "'.join(ids) + '"').encode("ascii") if ids else b""


async def send_namespaces(request: BlobsRequest, pages: Namespaces) -> None:
    """
    Answer with namespaces, and how many blobs each has.

    :raise ClientGoneError: the connection has ended.
    :raise StoreError: they can't be read.
    """
    head = b'{"namespaces": {'
    await send_pieces(request, framed(head, _write_pages(pages), lambda: b"}}"))


async def _write_pages(pages: Namespaces) -> Pieces:
    async with aclosing(pages):
        async for page in pages:
            yield write_namespaces(page)
