"""Objects removed, many by one request."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from xml.sax.saxutils import escape

from .....errors import StoreError
from ...interface import UnavailableError
from .answers import SOON, Element, children_of, code_of, name_of, text_of
from .client import Client, Request

MANY = 1000
"""How many objects one request can remove at most."""


async def remove_objects(client: Client, names: Sequence[str]) -> dict[str, StoreError]:
    """
    Remove objects, those that are there.

    :param names: at most :data:`MANY`.
    :return: those that may still be there, and why. Raises ``UnavailableError``.
    """
    if len(names) > 1:
        left = await _remove_many(client, names)
        if left is not None:
            return left
    for name in names:
        await client.ask(Request("delete", "DELETE", name), wanted=(404,))
    return {}


async def _remove_many(client: Client, names: Sequence[str]) -> dict[str, StoreError] | None:
    """Remove objects by one request; give None if this store does not know how."""
    prefix = client.bucket.prefix
    listed = "".join(f"<Object><Key>{escape(prefix + it)}</Key></Object>" for it in names)
    body = f"<Delete><Quiet>true</Quiet>{listed}</Delete>".encode()
    md5 = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode("ascii")
    headers = (("content-md5", md5), ("content-type", "application/xml"))
    request = Request("delete", "POST", None, (("delete", ""),), headers)
    answer = await client.ask(request, body, wanted=(400, 405, 501))
    if answer.status != 200:
        return None
    root = answer.xml()
    if name_of(root) != "DeleteResult":
        raise UnavailableError(f"{client.bucket.host} does not say what it has deleted", SOON)
    return _read_errors(client, root, names)


def _read_errors(client: Client, root: Element, names: Sequence[str]) -> dict[str, StoreError]:
    left: dict[str, StoreError] = {}
    for error in children_of(root, "Error"):
        name = text_of(error, "Key").removeprefix(client.bucket.prefix)
        if name not in names:
            raise UnavailableError(f"{client.bucket.host} does not say what is left", SOON)
        left[name] = UnavailableError(f"{client.bucket.host}: {code_of(error)}", SOON)
    return left
