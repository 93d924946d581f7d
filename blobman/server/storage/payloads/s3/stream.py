"""A part of an object, which comes while it is being read: :class:`Stream`."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.python.failure import Failure
from twisted.web.iweb import IResponse

from .....errors import ClosedError, StoreError
from .....wire.idle import IdleTimer
from .....wire.receivers import Receiver
from ...interface import DamagedError, UnavailableError
from .answers import SOON, Answer, MaybeLaterError, header_of
from .client import Client, Request
from .exchange import Exchange

AHEAD = 512 * 1024
"""Bytes that come before they are read; a little more may."""

_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(?:\d+|\*)", re.ASCII)

Missing = Callable[[], Awaitable[StoreError]]
"""Tells why there is no object: it is missing, or all of the store is."""


def range_request(name: str, start: int, end: int) -> Request:
    """Ask for the bytes of an object from ``start`` to before ``end``, which is more."""
    return Request("get", "GET", name, headers=(("range", f"bytes={start}-{end - 1}"),))


class _Buffer(Receiver):
    """Takes an answer's body, and pauses while there is enough of it."""

    def __init__(self, idle: IdleTimer) -> None:
        super().__init__(idle)
        self._content = bytearray()
        self._wanted = 0
        self._waiting: Deferred[None] | None = None
        self._end: Failure | None = None
        self._is_paused = False

    def _take(self, data: bytes) -> None:
        self._content += data
        if len(self._content) >= self._wanted:
            self._tell()
        if len(self._content) >= max(AHEAD, self._wanted):
            self._is_paused = True
            self._idle.pause()
            self.transport.pauseProducing()  # type: ignore[union-attr]

    def _tell(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.called:
            waiting.callback(None)

    def ended(self, result: Failure | None) -> None:
        """Take note that nothing more comes."""
        cut = MaybeLaterError("an answer was shorter than announced")
        self._end = result or Failure(cut)
        if self._waiting is not None and not self._waiting.called:
            self._waiting.errback(self._end)

    def fill(self, size: int) -> Deferred[None]:
        """
        Wait for so many bytes.

        :return: fires when they are there. Fails if they don't come.
        """
        self._wanted = size
        if len(self._content) >= size:
            return succeed(None)
        if self._end is not None:
            return fail(self._end)
        self._idle.reset()
        self._waiting = Deferred()
        self._go_on()
        return self._waiting

    def _go_on(self) -> None:
        if self._is_paused and self._end is None:
            self._is_paused = False
            self.transport.resumeProducing()  # type: ignore[union-attr]

    def pop(self, size: int) -> bytes:
        """Give the next bytes, which are there."""
        data = bytes(self._content[:size])
        del self._content[:size]
        self._wanted = 0
        if len(self._content) < AHEAD:
            self._go_on()
        return data


class Stream:
    """
    Reads a part of an object in order. When the connection is cut, it goes on from there.

    :param missing: asked why, if there is no object any more.
    """

    def __init__(self, client: Client, name: str, start: int, end: int, missing: Missing) -> None:
        self._client = client
        self._name = name
        self._place = start
        self._end = end
        self._missing = missing
        self._exchange: Exchange | None = None
        self._buffer: _Buffer | None = None
        self._is_busy = self._is_stopped = False

    def can_give(self, start: int, end: int) -> bool:
        """Tell whether these bytes are the next ones, and nobody waits for others."""
        return not self._is_busy and start == self._place and end <= self._end

    async def read(self, size: int) -> bytes:
        """
        Read the next bytes.

        :return: them. Raises ``DamagedError`` or ``UnavailableError``.
        """
        self._is_busy = True
        try:
            data = await self._read(size)
        except CancelledError:
            self._disconnect()
            if self._is_stopped:
                raise ClosedError("the payload was closed") from None
            raise
        except BaseException:
            # Whoever is told that this failed does not know where it goes on.
            self._disconnect()
            raise
        self._is_busy = False
        self._place += size
        return data

    async def _read(self, size: int) -> bytes:
        attempt = 1
        while not self._is_stopped:
            try:
                buffer = self._buffer or await self._begin(attempt)
                await buffer.fill(size)
                return buffer.pop(size)
            except MaybeLaterError as error:
                self._disconnect()
                await self._client.pause_after(attempt, error)
            attempt += 1
        raise ClosedError("the payload was closed")

    async def _begin(self, attempt: int) -> _Buffer:
        request = range_request(self._name, self._place, self._end)
        exchange = self._exchange = await self._client.begin(request, attempt=attempt)
        if self._is_stopped:
            self._disconnect()
        response = await exchange.response()
        if response.code != 206:
            raise await self._refused(await exchange.answer())
        self._check(response)
        buffer = self._buffer = _Buffer(exchange.idle)
        receiving = Deferred.fromCoroutine(exchange.receive(buffer))
        receiving.addBoth(buffer.ended)
        return buffer

    async def _refused(self, answer: Answer) -> StoreError:
        if answer.status == 404:
            return await self._missing()
        if answer.status == 416:
            return DamagedError("a payload is shorter than it was")
        assert self._exchange is not None
        return self._exchange.about(answer)

    def _check(self, response: IResponse) -> None:
        found = _RANGE.fullmatch(header_of(response.headers, "content-range"))
        if not found or int(found[1]) != self._place:
            raise UnavailableError(f"{self._client.bucket.host} answers another range", SOON)
        if int(found[2]) != self._end - 1:
            raise DamagedError("a payload is shorter than it was")

    def close(self) -> None:
        """Close its connection. A read that is under way fails with ``ClosedError``."""
        self._is_stopped = True
        self._disconnect()

    def _disconnect(self) -> None:
        exchange, self._exchange, self._buffer = self._exchange, None, None
        if exchange is not None:
            exchange.abort()
