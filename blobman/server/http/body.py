"""A request's body as it comes: read in turns, with back-pressure to the sender."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, fail, succeed

HIGH_WATER = 512 * 1024
"""Bytes that may wait to be read before the sender is stopped."""


class BodyTooLargeError(Exception):
    """The body is longer than what is asked for can be."""


class ClientGoneError(Exception):
    """The connection ended while a body or an answer was on its way."""


class Body:
    """
    The bytes between a channel, which feeds them, and a resource, which reads them.

    :param length: what Content-Length says, in bytes; None if nothing does.
    :param pause: stops the sender; may be called again and again.
    :param resume: lets it go on.
    :ivar received: the bytes that came so far.
    :ivar ended: whether it came to its end.
    """

    def __init__(
        self, length: int | None, pause: Callable[[], None], resume: Callable[[], None]
    ) -> None:
        self.length = length
        self.received = 0
        self.ended = False
        self.wanted: Callable[[], None] | None = None
        self._pause = pause
        self._resume = resume
        self._pieces: list[bytes] = []
        self._waiting_bytes = 0
        self._reader: Deferred[list[bytes]] | None = None
        self._is_lost = False
        self._is_discarded = False

    # -- the channel's side ----------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self.received += len(data)
        if self._is_discarded or not data:
            return
        self._pieces.append(data)
        self._waiting_bytes += len(data)
        if self._reader is not None:
            self._hand_over()
        elif self._waiting_bytes >= HIGH_WATER:
            self._pause()

    def end(self) -> None:
        """Take the end."""
        self.ended = True
        if self._reader is not None:
            self._hand_over()

    def lose(self) -> None:
        """Take notice that the rest won't come."""
        if self.ended or self._is_lost:
            return
        self._is_lost = True
        if self._reader is not None:
            reader, self._reader = self._reader, None
            reader.errback(ClientGoneError())

    def _hand_over(self) -> None:
        assert self._reader is not None
        reader, self._reader = self._reader, None
        reader.callback(self._take())

    def _take(self) -> list[bytes]:
        pieces, self._pieces = self._pieces, []
        if self._waiting_bytes >= HIGH_WATER:
            self._resume()
        self._waiting_bytes = 0
        return pieces

    def _forget(self) -> None:
        self._pieces.clear()
        self._waiting_bytes = 0

    # -- the resource's side ---------------------------------------------------------

    def read(self) -> Deferred[list[bytes]]:
        """
        Wait for more.

        :return: fires with what has come; with an empty list at the end. Fails with
            ``ClientGoneError`` if the rest won't come, once what came has been read.
        """
        assert self._reader is None, "one read at a time"
        if self._pieces or self.ended:
            return succeed(self._take())
        if self._is_lost:
            return fail(ClientGoneError())
        if self.wanted is not None:
            wanted, self.wanted = self.wanted, None
            wanted()
        self._reader = Deferred(self._cancel_read)
        return self._reader

    def _cancel_read(self, _: Deferred[list[bytes]]) -> None:
        self._reader = None

    async def read_all(self, limit: int, hold: Callable[[int], None] = lambda _: None) -> bytes:
        """
        Wait for the whole body.

        :param limit: the most bytes it may have.
        :param hold: is called with the number of bytes that have to be held, as they come.
        :raise BodyTooLargeError: it has more.
        :raise ClientGoneError: the rest won't come.
        """
        if self.length is not None and self.length > limit:
            raise BodyTooLargeError
        pieces: list[bytes] = []
        size = 0
        while more := await self.read():
            pieces += more
            come = sum(map(len, more))
            size += come
            if size > limit:
                raise BodyTooLargeError
            hold(come)
        return b"".join(pieces)

    def discard(self) -> None:
        """Throw away what is waiting and all that will come."""
        self._is_discarded = True
        if self._waiting_bytes >= HIGH_WATER:
            self._resume()
        self._forget()
