"""The content of a request, which is handed over piece by piece as it comes: :class:`Sending`."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IConsumer
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer


class StoppedError(Exception):
    """No more of the content is wanted, or can be sent."""


@implementer(IBodyProducer)
class Sending:
    """
    A request's content.

    :param length: its bytes.
    """

    def __init__(self, length: int) -> None:
        self.length = length
        self._consumer: Any = None
        self._transport: Any = None
        self._is_paused = True
        self._is_over = False
        self._room: Deferred[None] | None = None
        self._finished: Deferred[None] = Deferred(lambda _: self.stopProducing())

    # -- what the one who has the content calls ------------------------------------------

    def room(self) -> Deferred[None]:
        """
        Wait until a piece may be written.

        :return: fires when one may. Fails with :class:`StoppedError`.
        """
        if self._is_over:
            return fail(StoppedError())
        if not self._is_paused:
            return succeed(None)
        self._room = Deferred()
        return self._room

    def write(self, data: bytes) -> None:
        """Write a piece, for which there is room."""
        self._consumer.write(data)

    def end(self) -> None:
        """Say that all has been written."""
        if not self._is_over:
            self._is_over = True
            # From now on the connection may become another request's.
            self._consumer = self._transport = None
            self._finished.callback(None)

    def abort(self) -> None:
        """
        Write no more, and close the connection, if there is one.

        Twisted would wait for the end of the content, though it has been answered already.
        """
        transport, self._transport = self._transport, None
        self.stopProducing()
        if transport is not None:
            transport.abortConnection()

    # -- what Twisted calls ----------------------------------------------------------------

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Begin; see ``IBodyProducer``."""
        self._consumer = consumer
        # The connection is behind the consumer, which counts.
        self._transport = getattr(consumer, "_consumer", None)
        self.resumeProducing()
        return self._finished

    def pauseProducing(self) -> None:
        """Write no more for now."""
        self._is_paused = True

    def resumeProducing(self) -> None:
        """Go on."""
        self._is_paused = False
        self._tell_of_room(None)

    def stopProducing(self) -> None:
        """Write never again."""
        self._is_over = True
        self._consumer = None
        self._tell_of_room(StoppedError())

    def _tell_of_room(self, error: Exception | None) -> None:
        room, self._room = self._room, None
        if room is not None and not room.called:
            room.callback(None) if error is None else room.errback(error)
