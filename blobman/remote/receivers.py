"""Answers' bodies as they come down: opened on their way into the store, never held whole."""

from __future__ import annotations

from typing import Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from ..crypto import Opener
from ..interfaces import IStagedBlob, Progress, no_progress
from ..protocol import IdsReader, ObjectReader
from ..wire.idle import IdleTimer
from ..wire.receivers import Receiver
from .throttle import Throttle

R = TypeVar("R", IdsReader, ObjectReader)

BEGINNING = 256
"""Bytes of a body that are enough to tell what it is."""


class ReadingReceiver(Receiver, Generic[R]):
    """
    Reads a long answer of JSON as it comes.

    :ivar reader: what it is read with.
    :ivar beginning: the first bytes.
    """

    def __init__(self, idle: IdleTimer, reader: R) -> None:
        super().__init__(idle)
        self.reader: R = reader
        self.beginning = b""

    def _take(self, data: bytes) -> None:
        self.beginning = self.beginning or data[:BEGINNING]
        self.reader.feed(data)


class PausingReceiver(Receiver):
    """Pauses the connection while the store, or the limit, is slower than the wire."""

    def __init__(self, idle: IdleTimer, throttle: Throttle) -> None:
        super().__init__(idle)
        self._throttle = throttle
        self._turns: set[Deferred[None]] = set()
        self._waiting = 0
        self._end: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        """Take the next bytes, and pause if they are too many."""
        turn = None if self.finished.called else self._throttle.take(len(data))
        if turn is not None:
            self._turns.add(turn)
            turn.addBoth(self._has_come, turn)
            self.wait_for(turn)
        super().dataReceived(data)
        # Over TLS, what has been decrypted comes even after a pause.
        if self._waiting:
            self._idle.pause()

    def _has_come(self, result: Failure | None, turn: Deferred[None]) -> Failure | None:
        self._turns.discard(turn)
        return result

    def _close(self) -> None:
        for turn in list(self._turns):
            turn.cancel()
        super()._close()

    def wait_for(self, stored: Deferred[None]) -> None:
        """Pause until the store has taken something."""
        self._waiting += 1
        if self._waiting == 1:
            self.transport.pauseProducing()  # type: ignore[union-attr]
            self._idle.pause()
        stored.addCallbacks(self._stored, self._fail)

    def _stored(self, _: object) -> None:
        self._waiting -= 1
        if self._waiting or self.finished.called:
            return
        self._idle.reset()
        if self._end is not None:
            super().connectionLost(self._end)
        else:
            self.transport.resumeProducing()  # type: ignore[union-attr]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """End, as soon as the store has taken what came."""
        if self._waiting:
            self._end = reason
        else:
            super().connectionLost(reason)


class OpeningReceiver(PausingReceiver):
    """
    Opens a sealed blob as it comes and stages its cleartext.

    The tag is not verified here: ``opener.finish()`` is up to who waits for ``finished``.

    :ivar beginning: the first bytes.
    """

    def __init__(
        self,
        opener: Opener,
        staged: IStagedBlob,
        idle: IdleTimer,
        throttle: Throttle,
        total: int,
        progress: Progress = no_progress,
    ) -> None:
        super().__init__(idle, throttle)
        self._opener = opener
        self._staged = staged
        self._total = total
        self._progress = progress
        self._received = 0
        self.beginning = b""

    def _take(self, data: bytes) -> None:
        self._received += len(data)
        self.beginning = self.beginning or data[:BEGINNING]
        cleartext = self._opener.feed(data)
        if cleartext:
            stored = self._staged.write(cleartext)
            if stored is not None:
                self.wait_for(stored)
        self._progress(self._received, self._total)
