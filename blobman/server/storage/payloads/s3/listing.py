"""The objects of a bucket, page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator

from ...interface import UnavailableError
from ..interface import Listed
from .answers import SOON, Element, children_of, name_of, read_size, text_of, time_of
from .client import Client, Request

PAGE = 1000
"""How many objects are listed at once."""


async def list_objects(client: Client) -> AsyncIterator[list[Listed]]:
    """
    List the objects with the bucket's prefix.

    :return: pages. Reading one raises ``UnavailableError``.
    """
    after: tuple[tuple[str, str], ...] = ()
    while True:
        query = (
            *(("list-type", "2"), ("max-keys", str(PAGE))),
            *(("prefix", client.bucket.prefix), *after),
        )
        answer = await client.ask(Request("list", "GET", None, query))
        root = answer.xml()
        if name_of(root) != "ListBucketResult":
            raise UnavailableError(f"{client.bucket.host} gives no list", SOON)
        yield [_listed(client, it) for it in children_of(root, "Contents")]
        if text_of(root, "IsTruncated") != "true":
            return
        token = text_of(root, "NextContinuationToken")
        if not token or after == (("continuation-token", token),):
            raise UnavailableError(f"{client.bucket.host} gives a part of its list only", SOON)
        after = (("continuation-token", token),)


def _listed(client: Client, element: Element) -> Listed:
    key, size = text_of(element, "Key"), read_size(text_of(element, "Size"))
    if not key.startswith(client.bucket.prefix) or size is None:
        raise UnavailableError(f"{client.bucket.host} lists something else", SOON)
    name = key.removeprefix(client.bucket.prefix)
    return Listed(name, size, time_of(element, "LastModified"))
