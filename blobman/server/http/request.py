"""
Requests that are answered while their body still comes.

twisted.web begins to process a request when its whole body has come, spooled to a file. Here
it begins when the headers are there, and the body is a :class:`~blobman.server.http.body.Body`
that the resource reads. So a request can be refused before its body, and an upload goes
straight to its place. What that takes of twisted.web is all in this module:

- ``Request.gotLength`` is called at the end of the headers, ``handleContentChunk`` with each part
  of the body, ``requestReceived`` at its end; the channel then knows ``_command``, ``_path`` and
  ``_version``, which it hands over only at the end.
- A response must not be finished before the body has ended: the channel would take the rest
  of it for the next request. So finishing waits, while the rest is thrown away. An answer that
  is sent before the body has ended closes the connection, but only when the client has had
  time to read it: closing with bytes unread sends a reset, which can overtake the answer.
- The channel answers ``Expect: 100-continue`` by itself, unless the header is gone by then.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from twisted.python.failure import Failure
from twisted.web.http import parse_qs
from twisted.web.server import Request

from ...protocol import ProtocolError
from .access import CLIENT_GONE, UNKNOWN, Report, RequestLog, shown
from .body import Body
from .channel import BlobsChannel
from .waiting import Waiting

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall

LINGER = 30.0
"""Seconds that a client gets to read an answer that came before the end of its body."""

SMALL_REST = 64 * 1024
"""Bytes that an answer waits for, if no more are to come, so that the connection can go on."""


class BlobsRequest(Request):
    """
    A request whose body is read as it comes.

    :ivar body: the body; nothing before the headers have come.
    :ivar is_gone: whether the connection ended before the answer did.
    :ivar log: for all that is logged about it; knows who asks.
    """

    defaultContentType = b"text/plain; charset=utf-8"
    is_gone = False
    _has_begun = False
    _is_reported = False
    _is_finishing = False
    _lingering: IDelayedCall | None = None
    _rest_began_at: float | None = None

    def __init__(self, channel: BlobsChannel, *arguments: Any, **options: Any) -> None:
        super().__init__(channel, *arguments, **options)  # type: ignore[no-untyped-call]
        self.body = Body(0, self._pause, self._resume)
        self.log = RequestLog()
        self._channel = channel
        self._site = channel.site
        self._began_at = self._now()

    # -- what the channel calls --------------------------------------------------------

    def gotLength(self, length: int | None) -> None:
        """Begin, if there is a body; without one, the channel goes on to ``requestReceived``."""
        self.body = Body(length, self._pause, self._resume)
        if length == 0:
            return
        if self._expects_continue():
            self.requestHeaders.removeHeader(b"expect")
            self.body.wanted = self._send_continue
            self._channel.wait_for_server()
        self._begin(self.channel._command, self.channel._path, self.channel._version)

    def handleContentChunk(self, data: bytes) -> None:
        """Take a part of the body."""
        self.body.feed(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Take the end of the body."""
        self.body.end()
        if not self._has_begun:
            self._begin(command, path, version)
        elif self._is_finishing:
            self._finish_now()

    def connectionLost(self, reason: Failure) -> None:
        """Take notice that nobody waits for the answer any more."""
        self._stop_lingering()
        self.is_gone = True
        self.body.lose()
        if self._has_begun:
            self._report(CLIENT_GONE)
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    # -- beginning -------------------------------------------------------------------

    def _begin(self, command: bytes, uri: bytes, version: bytes) -> None:
        self._has_begun = True
        self._take_first_line(command, uri, version)
        self.args = parse_qs(self.uri.partition(b"?")[2], keep_blank_values=True)
        self.process()  # type: ignore[no-untyped-call]

    def _take_first_line(self, command: bytes, uri: bytes, version: bytes) -> None:
        self.method, self.uri, self.clientproto = command, _without_host(uri), version
        self.path = self.uri.partition(b"?")[0]

    def _expects_continue(self) -> bool:
        expected = self.requestHeaders.getRawHeaders(b"expect", [b""])[0]
        return expected.lower() == b"100-continue" and self.channel._version == b"HTTP/1.1"

    def single_header(self, name: str) -> str | None:
        """
        Return the value of a header that a request can have once, or None if it has none.

        :raise ProtocolError: there is more than one, or the value is not ASCII.
        """
        values = self.requestHeaders.getRawHeaders(name.encode("ascii"), [])
        if len(values) > 1:
            raise ProtocolError(f"there is more than one {name}")
        try:
            return values[0].decode("ascii") if values else None
        except UnicodeDecodeError as error:
            raise ProtocolError(f"the {name} is not ASCII") from error

    @property
    def connection(self) -> Any:
        """The transport, with the abilities of TCP."""
        return self.transport

    @property
    def reactor(self) -> Any:
        """The reactor, for its threads."""
        return self._site.main_reactor

    @property
    def waiting(self) -> Waiting:
        """Where requests wait for changes."""
        return self._site.waiting

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Wait in the block for what others do: that is no time that answering took."""
        self._rest_began_at = self._now()
        try:
            yield
        finally:
            self._end_rest()

    def _end_rest(self) -> None:
        if self._rest_began_at is not None:
            self._began_at += self._now() - self._rest_began_at
            self._rest_began_at = None

    def _now(self) -> float:
        return self._site.clock.seconds()

    def when_gone(self, call: Callable[[], object]) -> None:
        """Have something called if the connection ends before the answer does."""
        self.notifyFinish().addErrback(lambda _: call())

    @property
    def stall_clock(self) -> tuple[Any, float]:
        """The clock, and the seconds in which a client has to take what is sent."""
        return self._site.clock, self._site.limits.stalled

    def _send_continue(self) -> None:
        self.channel.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._channel.wait_for_client()

    def _pause(self) -> None:
        self._channel.wait_for_server()
        self.connection.pauseProducing()

    def _resume(self) -> None:
        if self.channel is not None:
            if not self.body.ended:
                self._channel.wait_for_client()
            self.connection.resumeProducing()

    # -- ending ------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Write a part of the answer; if the body is not over, the connection ends with it."""
        if not self.startedWriting and not self.body.ended and self.channel is not None:
            self.end_connection()
        super().write(data)  # type: ignore[no-untyped-call]

    def end_connection(self) -> None:
        """Have the connection end with the answer, of which nothing has been written."""
        self.responseHeaders.setRawHeaders(b"connection", [b"close"])
        self.channel.persistent = False

    def finish(self) -> None:
        """End the answer, as soon as the body has ended or been waited for long enough."""
        self._report(self.code)
        if self.body.ended:
            super().finish()  # type: ignore[no-untyped-call]
            return
        if not self.startedWriting:
            self.write(b"")
        self._is_finishing = True
        self.body.discard()
        self._lingering = self._site.clock.callLater(LINGER, self._stop_waiting)

    def refused_by_channel(self, code: int) -> bool:
        """
        Take notice that the channel can't read the request, and ends the connection.

        :return: whether an answer would be the first.
        """
        if not self._has_begun and hasattr(self.channel, "_command"):
            self._take_first_line(self.channel._command, self.channel._path, b"")
        self._report(code)
        return not self.startedWriting

    def _report(self, code: int) -> None:
        if self._is_reported:
            return
        self._is_reported = True
        self._end_rest()
        report = Report(
            request_id=self.log.request_id,
            peer=self._channel.peer,
            method=shown(self.method) if self.path else UNKNOWN,
            path=shown(self.path) if self.path else UNKNOWN,
            user=self.log.user,
            code=code,
            received=self.body.received,
            sent=self.sentLength,
            seconds=self._now() - self._began_at,
        )
        self._site.report(report)

    def _stop_waiting(self) -> None:
        self._lingering = None
        self.connection.abortConnection()

    def _finish_now(self) -> None:
        self._stop_lingering()
        super().finish()  # type: ignore[no-untyped-call]

    def _stop_lingering(self) -> None:
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None

    async def take_small_rest(self) -> None:
        """
        Wait for the end of the body, if that costs less than a new connection.

        :raise ClientGoneError: it won't come.
        """
        body = self.body
        if body.length is None or body.wanted is not None:
            return
        if body.ended or body.length - body.received > SMALL_REST:
            return
        deadline = self._site.clock.callLater(LINGER, self.connection.abortConnection)
        try:
            while await body.read():
                pass
        finally:
            if deadline.active():
                deadline.cancel()


_SCHEME_AND_HOST = re.compile(rb"https?://[^/?]*", re.IGNORECASE)


def _without_host(uri: bytes) -> bytes:
    """Take a request's target in either form: some proxies send ``http://host/path``."""
    match = _SCHEME_AND_HOST.match(uri)
    if match is None:
        return uri
    rest = uri[match.end() :]
    return rest if rest.startswith(b"/") else b"/" + rest
