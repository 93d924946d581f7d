"""A payload in an object, open for reading: :class:`S3Payload`."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from zope.interface import implementer

from .....errors import ClosedError
from ...interface import DamagedError
from ..interface import IPayload
from .client import Client
from .stream import Missing, Stream


@implementer(IPayload)
class S3Payload:
    """
    A payload.

    :param missing: asked why, if there is no object any more.
    """

    def __init__(self, client: Client, name: str, size: int, missing: Missing) -> None:
        self.size = size
        self.content: bytes | None = None
        self._client = client
        self._name = name
        self._missing = missing
        self._ahead: Stream | None = None
        self._open: set[Stream] = set()
        self._is_closed = False

    def _stream(self, start: int, end: int) -> Stream:
        return Stream(self._client, self._name, start, end, self._missing)

    def read(self, start: int, end: int) -> Deferred[bytes]:
        """Read a part; see :class:`IPayload`."""
        return Deferred.fromCoroutine(self._read(start, end))

    async def _read(self, start: int, end: int) -> bytes:
        if self._is_closed:
            raise ClosedError("the payload was closed")
        if end > self.size:
            raise DamagedError("a payload is shorter than it was")
        if start == end:
            return b""
        if self._ahead is not None and self._ahead.can_give(start, end):
            return await self._ahead.read(end - start)
        return await self._read_alone(self._stream(start, end), end - start)

    async def _read_alone(self, stream: Stream, size: int) -> bytes:
        self._open.add(stream)
        try:
            return await stream.read(size)
        finally:
            self._open.discard(stream)

    def read_ahead(self, start: int, end: int) -> None:
        """Expect that a part is read in order; see :class:`IPayload`."""
        if self._ahead is not None:
            self._ahead.close()
        self._ahead = self._stream(start, min(end, self.size))

    def close(self) -> None:
        """Release it; see :class:`IPayload`."""
        self._is_closed = True
        for stream in (self._ahead, *self._open):
            if stream is not None:
                stream.close()
