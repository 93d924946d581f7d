"""A payload on its way into an object: :class:`Writer`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from zope.interface import implementer

from .....errors import StoreError
from ...interface import UnavailableError
from ..interface import IPayloadWriter
from .client import PIECE, Client, Request
from .parts import Begun, abort_parts, begin_parts, complete_parts, part_request
from .puts import CollectedPut, Put, Stored, begin_put

MIB = 1024 * 1024

COLLECTED = MIB
"""Bytes up to which a payload is collected, so that it can be sent again if that fails."""

WHOLE = 5 * 1024 * MIB
"""Bytes up to which an object can be stored by one request."""

MOST_PARTS = 10_000
"""How many parts an object can have."""

LARGE_PART = 256 * MIB
"""Bytes of a part if those of the payload are known; more if there would be too many."""

SMALL_PART = 8 * MIB
"""Bytes of a part that is collected, since nobody knows whether there will be so many."""

DOUBLED_AFTER = 2000
"""After so many parts, those that are collected have twice as many bytes."""


Track = Callable[[Coroutine[Deferred[Any], Any, None]], Deferred[None]]


@implementer(IPayloadWriter)
class Writer:
    """
    Writes an object: by one request if it can, else in parts.

    :param size: the payload's bytes; None if nobody knows.
    :param track: does what has to be done before the store is closed.
    """

    _log = Logger()

    def __init__(self, client: Client, name: str, size: int | None, track: Track) -> None:
        self._track = track
        self._client = client
        self._name = name
        self._expected = size
        self._written = 0
        self._put: Put | None = None
        self._begun: Begun | None = None
        self._parts: list[Stored] = []

    async def begin(self) -> None:
        """Get ready for the first bytes. Raises ``UnavailableError``."""
        self._put = await self._first_put()

    async def _first_put(self) -> Put:
        request, size = Request("put", "PUT", self._name), self._expected
        if size is None:
            return CollectedPut(self._client, request, self._part_size())
        if size <= COLLECTED:
            return CollectedPut(self._client, request, size)
        if size <= WHOLE:
            return await begin_put(self._client, request, size)
        self._begun = await begin_parts(self._client, self._name)
        return await self._new_part()

    def _part_size(self) -> int:
        if self._expected is None:
            return SMALL_PART << len(self._parts) // DOUBLED_AFTER
        return max(LARGE_PART, -(-self._expected // MOST_PARTS))

    async def _new_part(self) -> Put:
        assert self._begun is not None
        number, size = len(self._parts) + 1, self._part_size()
        if number > MOST_PARTS:
            raise StoreError(f"a payload can't have more than {self._written} bytes")
        request = part_request(self._begun, number)
        if self._expected is None:
            return CollectedPut(self._client, request, size)
        return await begin_put(self._client, request, min(size, self._expected - self._written))

    # -- what comes ------------------------------------------------------------------------

    def write(self, pieces: Sequence[bytes | memoryview]) -> Deferred[None]:
        """Append; see :class:`IPayloadWriter`."""
        return Deferred.fromCoroutine(self._write(pieces))

    async def _write(self, pieces: Sequence[bytes | memoryview]) -> None:
        for piece in pieces:
            data = memoryview(piece)
            while data:
                put = await self._put_with_room()
                part = data[: min(put.room, PIECE)]
                await put.write(part)
                self._written += len(part)
                data = data[len(part) :]

    async def _put_with_room(self) -> Put:
        put = self._put
        assert put is not None, "it has not begun, or it has ended"
        if put.room:
            return put
        if self._written == self._expected:
            raise UnavailableError("a payload has other bytes than were announced")
        if self._begun is None:
            await self._make_it_a_part(put)
        self._parts.append(await put.finish())
        self._put = await self._new_part()
        return self._put

    async def _make_it_a_part(self, put: Put) -> None:
        """Have what was collected stored as the first of several parts."""
        assert isinstance(put, CollectedPut)
        self._begun = await begin_parts(self._client, self._name)
        put.request = part_request(self._begun, 1)

    # -- the end ---------------------------------------------------------------------------

    def commit(self) -> Deferred[None]:
        """Make it durable; see :class:`IPayloadWriter`."""
        return Deferred.fromCoroutine(self._commit())

    async def _commit(self) -> None:
        try:
            await self._store()
        except CancelledError:
            self.discard()
            raise
        except BaseException:
            await self.discard()
            raise
        self._put = self._begun = None

    async def _store(self) -> None:
        if self._expected not in (None, self._written):
            raise UnavailableError("a payload has other bytes than were announced")
        assert self._put is not None, "it has not begun, or it has ended"
        stored = await self._put.finish()
        if self._begun is not None:
            parts = [*self._parts, stored]
            await complete_parts(self._client, self._begun, parts, self._written)

    def discard(self) -> Deferred[None]:
        """End without keeping it; see :class:`IPayloadWriter`."""
        return self._track(self._discard())

    async def _discard(self) -> None:
        put, self._put = self._put, None
        begun, self._begun = self._begun, None
        if put is not None:
            put.abort()
        if begun is not None:
            try:
                await abort_parts(self._client, begun)
            except StoreError as error:
                # They are looked for when the key is removed.
                self._log.warn("Parts can't be removed yet: {reason}", reason=str(error))
