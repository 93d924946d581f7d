"""Objects that are made of parts: begun, completed, and given up (S3's multipart uploads)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

from ...interface import UnavailableError
from .answers import SOON, children_of, name_of, refusal, text_of, time_of
from .client import Client, Request
from .puts import Stored


class Begun(NamedTuple):
    """
    An object of which parts may be there.

    :ivar upload: the store's name for the upload.
    :ivar when: it was begun, in seconds since the epoch; 0 if it is not known.
    """

    name: str
    upload: str
    when: float = 0.0


async def begin_parts(client: Client, name: str) -> Begun:
    """
    Begin an object that is made of parts.

    :return: it. Raises ``UnavailableError``; it may have been begun then.
    """
    answer = await client.ask(Request("begin", "POST", name, (("uploads", ""),)))
    upload = text_of(answer.xml(), "UploadId")
    if not upload:
        raise UnavailableError(f"{client.bucket.host}: an upload has got no id", SOON)
    return Begun(name, upload)


def part_request(begun: Begun, number: int) -> Request:
    """Ask to store a part; the first one has the number 1."""
    query = (("partNumber", str(number)), ("uploadId", begun.upload))
    return Request("put_part", "PUT", begun.name, query)


async def complete_parts(client: Client, begun: Begun, parts: Sequence[Stored], size: int) -> None:
    """
    Make an object of its parts.

    :param size: the bytes that it has then. Raises ``UnavailableError`` unless it has.
    """
    listed = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{escape(part.tag)}</ETag></Part>"
        for number, part in enumerate(parts, 1)
    )
    body = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
    request = Request("complete", "POST", begun.name, (("uploadId", begun.upload),))
    answer = await client.ask(request, body, wanted=(404,))
    # An attempt before may have done it, though its answer was lost: then there is no such upload.
    if answer.status == 200 and name_of(answer.xml()) != "CompleteMultipartUploadResult":
        raise refusal(answer, client.bucket.host)
    stored = await client.ask(Request("head", "HEAD", begun.name), wanted=(404,))
    if stored.status != 200 or stored.header("content-length") != str(size):
        raise UnavailableError(f"{client.bucket.host}: parts were lost", SOON)


async def abort_parts(client: Client, begun: Begun) -> None:
    """Give an object up, with the parts that it has. Raises ``UnavailableError``."""
    request = Request("abort", "DELETE", begun.name, (("uploadId", begun.upload),))
    await client.ask(request, wanted=(404,))


async def find_begun(client: Client, prefix: str) -> AsyncIterator[Begun]:
    """
    Find what has been begun, and neither completed nor given up.

    :param prefix: what the names begin with.
    """
    after: tuple[tuple[str, str], ...] = ()
    while True:
        query = (("uploads", ""), ("prefix", client.bucket.prefix + prefix), *after)
        answer = await client.ask(Request("list", "GET", None, query), wanted=(501,))
        if answer.status == 501:
            return
        root = answer.xml()
        if name_of(root) != "ListMultipartUploadsResult":
            raise UnavailableError(f"{client.bucket.host} gives no list of uploads", SOON)
        for upload in children_of(root, "Upload"):
            key = text_of(upload, "Key")
            if key.startswith(client.bucket.prefix):
                name, when = key.removeprefix(client.bucket.prefix), time_of(upload, "Initiated")
                yield Begun(name, text_of(upload, "UploadId"), when)
        if text_of(root, "IsTruncated") != "true":
            return
        before, after = (
            after,
            (
                ("key-marker", text_of(root, "NextKeyMarker")),
                ("upload-id-marker", text_of(root, "NextUploadIdMarker")),
            ),
        )
        if after == before or not text_of(root, "NextKeyMarker"):
            raise UnavailableError(f"{client.bucket.host} gives a part of its list only", SOON)
