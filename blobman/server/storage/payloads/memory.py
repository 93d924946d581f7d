"""Payloads in memory, for tests: :class:`MemoryPayloads`. Every Deferred has fired already."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from ....errors import StoreError
from ..interface import DamagedError, Observers, UnavailableError
from .interface import LINGER, IPayload, IPayloads, IPayloadWriter, Listed


@implementer(IPayloadWriter)
class _MemoryWriter:
    def __init__(self, content: bytearray, size: int | None) -> None:
        self._content = content
        self._expected = size

    def write(self, pieces: Sequence[bytes | memoryview]) -> Deferred[None]:
        for piece in pieces:
            self._content += piece
        return succeed(None)

    def commit(self) -> Deferred[None]:
        if self._expected not in (None, len(self._content)):
            return fail(UnavailableError("a payload has other bytes than were announced"))
        return succeed(None)

    def discard(self) -> Deferred[None]:
        return succeed(None)


@implementer(IPayload)
class MemoryPayload:
    """
    A payload that is in memory.

    :param most: see :meth:`IPayloads.get`.
    """

    def __init__(self, content: bytes | bytearray, most: int) -> None:
        self.size = len(content)
        self.content = bytes(content) if self.size <= most else None
        self._content = content

    def read(self, start: int, end: int) -> Deferred[bytes]:
        """Give a part; see :class:`IPayload`."""
        if end > len(self._content):
            return fail(DamagedError("a payload is shorter than it was"))
        return succeed(bytes(self._content[start:end]))

    def read_ahead(self, start: int, end: int) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


@implementer(IPayloads)
class MemoryPayloads:
    """
    Keeps payloads in a dictionary.

    :ivar contents: the payloads by their keys.
    :ivar mark: the one that was written; None if none was.
    """

    linger = LINGER
    late = 0
    is_apart = False

    def __init__(self) -> None:
        self.contents: dict[str, bytearray] = {}
        self.mark: str | None = None
        self.observers: Observers = []

    def open(self) -> Deferred[None]:
        """Do nothing."""
        return succeed(None)

    def close(self) -> Deferred[None]:
        """Do nothing."""
        return succeed(None)

    def check_writing(self) -> Deferred[None]:
        """Do nothing."""
        return succeed(None)

    def create(self, key: str, size: int | None = None) -> Deferred[IPayloadWriter]:
        """Begin a payload; see :class:`IPayloads`."""
        if key in self.contents:
            return fail(UnavailableError("the key of a payload has been used"))
        content = self.contents[key] = bytearray()
        return succeed(_MemoryWriter(content, size))

    def get(self, key: str, most: int = 0) -> Deferred[IPayload]:
        """Open a payload; see :class:`IPayloads`."""
        content = self.contents.get(key)
        if content is None:
            return fail(DamagedError("a payload is missing"))
        return succeed(MemoryPayload(content, most))

    def remove(self, keys: Sequence[str]) -> Deferred[dict[str, StoreError]]:
        """Remove payloads; see :class:`IPayloads`."""
        for key in keys:
            self.contents.pop(key, None)
        return succeed({})

    async def listed(self) -> AsyncGenerator[list[Listed], None]:
        """List what is there; see :class:`IPayloads`."""
        yield [Listed(key, len(content), 0.0) for key, content in self.contents.items()]

    def read_mark(self) -> Deferred[str | None]:
        """Read the mark; see :class:`IPayloads`."""
        return succeed(self.mark)

    def write_mark(self, mark: str) -> Deferred[None]:
        """Write the mark; see :class:`IPayloads`."""
        self.mark = mark
        return succeed(None)
