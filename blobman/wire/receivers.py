"""Answers' bodies as they come."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IResponse

from ..protocol import ProtocolError
from .failures import RequestFailed, server_of
from .idle import IdleTimer


class Receiver(Protocol):
    """
    What every receiver of an answer's body does.

    :ivar finished: fires with None at the body's end, or fails: with what ``_take`` raised, or
        with :class:`RequestFailed`, which has what became of the connection. Cancelling it closes
        the connection.
    :ivar server: the host that the answer is from, and the port if the URL has one.
    :ivar may_be_cut: whether the body ended with its connection, and had no length: only what is
        in it can tell whether it came whole.
    :ivar received: the bytes so far.
    """

    def __init__(self, idle: IdleTimer) -> None:
        self.finished: Deferred[None] = Deferred(lambda _: self._close())
        self.server = ""
        self.may_be_cut = False
        self.received = 0
        self._idle = idle

    def dataReceived(self, data: bytes) -> None:
        """Take the next bytes."""
        self.received += len(data)
        self._idle.reset()
        if not self.finished.called:
            try:
                self._take(data)
            except Exception:
                self._fail(Failure())

    def _take(self, data: bytes) -> None:
        raise NotImplementedError

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Take the end."""
        if self.finished.called:
            return
        self.may_be_cut = reason.check(PotentialDataLoss) is not None
        if self.may_be_cut or reason.check(ResponseDone):
            self.finished.callback(None)
        else:
            assert reason.value is not None
            self.finished.errback(RequestFailed(self.server, reason.value))

    def _fail(self, failure: Failure) -> None:
        if not self.finished.called:
            self.finished.errback(failure)
            self._close()

    def _close(self) -> None:
        # Not loseConnection: over TLS that waits for the other side, which may be silent.
        if self.transport is not None:
            self.transport.stopProducing()  # type: ignore[attr-defined]


class Collector(Receiver):
    """
    Collects a small body.

    :ivar body: the bytes so far.
    """

    def __init__(self, idle: IdleTimer, limit: int) -> None:
        """
        Collect.

        :param limit: in bytes; a longer body fails with ``ProtocolError``.
        """
        super().__init__(idle)
        self.body = bytearray()
        self._limit = limit

    def _take(self, data: bytes) -> None:
        room = self._limit - len(self.body)
        self.body += data[:room]
        if len(data) > room:
            raise ProtocolError(f"the answer is longer than {self._limit} bytes")


def deliver(response: IResponse, receiver: Receiver) -> Deferred[None]:
    """
    Let a receiver have an answer's body.

    :return: its ``finished``.
    """
    receiver.server = server_of(response.request.absoluteURI)
    response.deliverBody(receiver)
    return receiver.finished
