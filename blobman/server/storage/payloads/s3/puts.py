"""
Content on its way into an object, or into a part of one.

:class:`StreamedPut` sends what comes, and can do that once. :class:`CollectedPut` holds a little of
it, and can send that again.
"""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple, Protocol

from ...interface import UnavailableError
from .answers import SOON, Answer
from .client import Client, Request
from .exchange import Exchange
from .sending import Sending
from .signing import CHUNK, IN_CHUNKS, UNSIGNED, framed_size

_MD5 = re.compile(r'"?([0-9a-f]{32})"?')


class Stored(NamedTuple):
    """
    What has been stored.

    :ivar tag: the ``ETag`` that it got.
    :ivar md5: of what was sent.
    """

    tag: str
    md5: bytes


class Put(Protocol):
    """Content on its way."""

    @property
    def room(self) -> int:
        """How many bytes may still be written."""
        ...

    async def write(self, data: memoryview) -> None:
        """Take the next bytes, for which there is room. Raises ``UnavailableError``."""
        ...

    async def finish(self) -> Stored:
        """
        Have it stored.

        :return: what has been stored, and is what was written. Raises ``UnavailableError``.
        """
        ...

    def abort(self) -> None:
        """Give up; do nothing if it has ended."""
        ...


def _new_md5() -> hashlib._Hash:
    return hashlib.md5(usedforsecurity=False)


def _check(answer: Answer, md5: bytes, host: str) -> Stored:
    """
    See that what was stored is what was sent.

    :raise UnavailableError: it is not, or nobody can tell.
    """
    tag = answer.header("etag")
    if not tag:
        raise UnavailableError(f"{host}: what was stored has got no ETag", SOON)
    found = _MD5.fullmatch(tag)
    if found and found[1] != md5.hex() and not _has_key(answer):
        raise UnavailableError(f"{host}: what was stored is not what was sent", SOON)
    return Stored(tag, md5)


def _has_key(answer: Answer) -> bool:
    """Whether it was encrypted with a key of the bucket's owner: then the tag is no MD5."""
    kind = answer.header("x-amz-server-side-encryption")
    customer = answer.header("x-amz-server-side-encryption-customer-algorithm")
    return kind.startswith("aws:kms") or bool(customer)


class StreamedPut:
    """
    Sends content as it comes.

    Over TLS it is sent as it is; otherwise each chunk is signed, so that nobody can change it.
    """

    def __init__(self, client: Client, exchange: Exchange, size: int) -> None:
        self._host = client.bucket.host
        self._exchange = exchange
        self._room = size
        self._md5 = _new_md5()
        self._is_framed = not client.bucket.is_private
        self._chunk = bytearray()
        # Until something comes, nobody waits for the store.
        exchange.idle.pause()

    @property
    def room(self) -> int:
        """How many bytes may still be written."""
        return self._room

    async def write(self, data: memoryview) -> None:
        """Take the next bytes; see :class:`Put`."""
        self._room -= len(data)
        self._md5.update(data)
        while self._is_framed and data:
            part, data = data[: CHUNK - len(self._chunk)], data[CHUNK - len(self._chunk) :]
            self._chunk += part
            if len(self._chunk) == CHUNK:
                await self._write_chunk()
        if data:
            await self._exchange.write(bytes(data))
        self._exchange.idle.pause()

    async def _write_chunk(self) -> None:
        content = bytes(self._chunk)
        self._chunk.clear()
        await self._exchange.write(self._exchange.chunks.frame(content))

    async def finish(self) -> Stored:
        """Have it stored; see :class:`Put`."""
        if self._is_framed:
            if self._chunk:
                await self._write_chunk()
            await self._write_chunk()
        answer = await self._exchange.finish()
        if answer.status >= 300:
            raise self._exchange.about(answer)
        return _check(answer, self._md5.digest(), self._host)

    def abort(self) -> None:
        """Give up; see :class:`Put`."""
        self._exchange.abort()


async def begin_put(client: Client, request: Request, size: int) -> StreamedPut:
    """
    Begin to send content.

    :param size: its bytes.
    :return: what takes it. Raises ``UnavailableError``.
    """
    if client.bucket.is_private:
        return StreamedPut(client, await client.begin(request, Sending(size), UNSIGNED), size)
    headers = (
        *request.headers,
        ("content-encoding", "aws-chunked"),
        ("x-amz-decoded-content-length", str(size)),
    )
    sending = Sending(framed_size(size))
    exchange = await client.begin(request._replace(headers=headers), sending, IN_CHUNKS)
    return StreamedPut(client, exchange, size)


class CollectedPut:
    """
    Collects content, and sends it in the end.

    :param most: how many bytes at most.
    """

    def __init__(self, client: Client, request: Request, most: int) -> None:
        self.request = request
        self._client = client
        self._most = most
        self._content = bytearray()
        self._md5 = _new_md5()
        self._sha256 = hashlib.sha256()

    @property
    def room(self) -> int:
        """How many bytes may still be written."""
        return self._most - len(self._content)

    async def write(self, data: memoryview) -> None:
        """Take the next bytes; see :class:`Put`."""
        self._content += data
        # All of it at once would take too long in the end.
        self._md5.update(data)
        if not self._client.bucket.is_private:
            self._sha256.update(data)

    async def finish(self) -> Stored:
        """Have it stored; see :class:`Put`."""
        digest = UNSIGNED if self._client.bucket.is_private else self._sha256.hexdigest()
        answer = await self._client.ask(self.request, self._content, digest=digest)
        return _check(answer, self._md5.digest(), self._client.bucket.host)

    def abort(self) -> None:
        """Give up; see :class:`Put`."""
