"""Answers' bodies as they come down: opened on their way into the store, never held whole."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.iweb import IResponse

from ..crypto import Opener
from ..errors import BlobNotFoundError, InvalidBlob, ServerError, describe
from ..interfaces import Ended, IStagedBlob, Progress, no_progress
from ..protocol import FRAME_HEADER_SIZE, NOT_THERE, read_frame_header
from .idle import IdleTimer
from .throttle import Throttle

SMALL = 256 * 1024
"""Sealed bytes up to which a blob of a stream is collected, and opened at once."""

MAX_UNPUBLISHED = 4 * 1024 * 1024
"""Bytes of a stream's blobs that may be on their way into the store before it is paused."""


class _Receiver(Protocol):
    """
    What every receiver of an answer's body does.

    :ivar finished: fires with None at the body's end, or fails: with what ``_take`` raised, or
        with what Twisted says became of the connection. Cancelling it closes the connection.
    """

    def __init__(self, idle: IdleTimer) -> None:
        self.finished: Deferred[None] = Deferred(lambda _: self._close())
        self._idle = idle

    def dataReceived(self, data: bytes) -> None:
        self._idle.reset()
        if not self.finished.called:
            try:
                self._take(data)
            except Exception:
                self._fail(Failure())

    def _take(self, data: bytes) -> None:
        raise NotImplementedError

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.finished.called:
            return
        if reason.check(ResponseDone):
            self.finished.callback(None)
        else:
            self.finished.errback(reason)

    def _fail(self, failure: Failure) -> None:
        if not self.finished.called:
            self.finished.errback(failure)
            self._close()

    def _close(self) -> None:
        # Not loseConnection: over TLS that waits for the other side, which may be silent.
        if self.transport is not None:
            self.transport.stopProducing()  # type: ignore[attr-defined]


class Collector(_Receiver):
    """
    Collects a small body.

    :ivar body: the bytes so far.
    """

    def __init__(self, idle: IdleTimer, limit: int) -> None:
        """
        Collect.

        :param limit: in bytes; a longer body fails with ``ServerError``.
        """
        super().__init__(idle)
        self.body = bytearray()
        self._limit = limit

    def _take(self, data: bytes) -> None:
        if len(self.body) + len(data) > self._limit:
            raise ServerError(f"the answer is longer than {self._limit} bytes")
        self.body += data


class _PausingReceiver(_Receiver):
    """Pauses the connection while the store, or the limit, is slower than the wire."""

    def __init__(self, idle: IdleTimer, throttle: Throttle) -> None:
        super().__init__(idle)
        self._throttle = throttle
        self._turns: set[Deferred[None]] = set()
        self._waiting = 0
        self._end: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        turn = None if self.finished.called else self._throttle.take(len(data))
        if turn is not None:
            self._turns.add(turn)
            turn.addBoth(self._has_come, turn)
            self._wait(turn)
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

    def _wait(self, stored: Deferred[None]) -> None:
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


class OpeningReceiver(_PausingReceiver):
    """
    Opens a sealed blob as it comes and stages its cleartext.

    The tag is not verified here: ``opener.finish()`` is up to who waits for ``finished``.
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

    def _take(self, data: bytes) -> None:
        self._received += len(data)
        cleartext = self._opener.feed(data)
        if cleartext:
            stored = self._staged.write(cleartext)
            if stored is not None:
                self._wait(stored)
        self._progress(self._received, self._total)


class _Frame:
    """A blob that is coming in a stream."""

    def __init__(self, blob_id: str, size: int, opener: Opener, staged: IStagedBlob) -> None:
        self.blob_id = blob_id
        self.size = size
        self.missing = size
        self.opener = opener
        self.staged = staged
        self.error: InvalidBlob | None = None
        self._is_small = size <= SMALL
        self._collected = bytearray()

    def open(self, piece: memoryview) -> memoryview:
        """
        Open the next bytes, which :attr:`missing` does not count any more.

        A small blob is opened when it is whole.

        :return: content that is to be stored, and not verified before :meth:`finish`.
        :raise InvalidBlob: it can't be the blob.
        """
        if not self._is_small:
            return self.opener.feed(piece)
        if self.missing:
            self._collected += piece
            return memoryview(b"")
        return self.opener.open(self._collected + piece if self._collected else piece)

    def finish(self) -> None:
        """
        Verify it, at its end.

        :raise InvalidBlob: it is not genuine.
        """
        if not self._is_small or not self.size:
            self.opener.finish()


class FramesReceiver(_PausingReceiver):
    """
    Takes a stream apart, and opens, verifies and publishes each blob by itself.

    A blob that does not verify does not keep the others from arriving. One that is too large to
    travel with others ends the stream.
    """

    def __init__(
        self,
        blob_ids: Sequence[str],
        namespace: str,
        begin: Callable[[str], tuple[Opener, IStagedBlob]],
        ended: Ended,
        idle: IdleTimer,
        throttle: Throttle,
        largest: int,
    ) -> None:
        """
        Receive.

        :param blob_ids: in the order in which they come.
        :param begin: makes what opens a blob, and what takes its cleartext.
        :param largest: the sealed size, in bytes, of the largest blob that is taken.
        """
        super().__init__(idle, throttle)
        self._expected = deque(blob_ids)
        self._namespace = namespace
        self._begin = begin
        self._ended = ended
        self._largest = largest
        self._header = bytearray()
        self._frame: _Frame | None = None
        self._endings: set[Deferred[None]] = set()
        self._unpublished = 0

    async def close(self) -> None:
        """Wait until all that came is published, and drop what came in part."""
        frame, self._frame = self._frame, None
        if frame is not None:
            await frame.staged.discard()
        await DeferredList(list(self._endings))

    def _take(self, data: bytes) -> None:
        view = memoryview(data)
        while view and not self.finished.called:
            view = self._take_header(view) if self._frame is None else self._take_content(view)

    def _take_header(self, view: memoryview) -> memoryview:
        missing = FRAME_HEADER_SIZE - len(self._header)
        self._header += view[:missing]
        if len(self._header) == FRAME_HEADER_SIZE:
            frame = read_frame_header(bytes(self._header))
            self._header.clear()
            self._begin_frame(*frame)
        return view[missing:]

    def _begin_frame(self, size: int, tag: bytes) -> None:
        if not self._expected:
            raise ServerError("the stream goes on after its last blob")
        blob_id = self._expected.popleft()
        if (size, tag) == NOT_THERE:
            what = describe(blob_id, self._namespace)
            self._ended(blob_id, BlobNotFoundError(f"get {what}: the server does not have it"))
        elif size > self._largest:
            self._ended(blob_id, None)
            self.finished.callback(None)
            self._close()
        else:
            self._frame = _Frame(blob_id, size, *self._begin(blob_id))
            self._end_frame_if_complete()

    def _take_content(self, view: memoryview) -> memoryview:
        frame = self._frame
        assert frame is not None
        piece = view[: frame.missing]
        frame.missing -= len(piece)
        if frame.error is None:
            self._open(frame, piece)
        self._end_frame_if_complete()
        return view[len(piece) :]

    def _open(self, frame: _Frame, piece: memoryview) -> None:
        try:
            cleartext = frame.open(piece)
        except InvalidBlob as error:
            frame.error = error
            return
        stored = frame.staged.write(cleartext) if cleartext else None
        if stored is not None:
            self._wait(stored)

    def _end_frame_if_complete(self) -> None:
        frame = self._frame
        if frame is None or frame.missing:
            return
        self._frame = None
        if frame.error is None:
            try:
                frame.finish()
            except InvalidBlob as error:
                frame.error = error
        opener, staged = frame.opener, frame.staged
        if frame.error is None:
            ending = staged.publish(opener.preamble, opener.external)
        else:
            ending = staged.discard()
        self._unpublished += frame.size
        self._endings.add(ending)
        ending.addBoth(self._tell, frame)
        ending.addBoth(self._ended_frame, frame, ending)
        if self._unpublished > MAX_UNPUBLISHED:
            published: Deferred[None] = Deferred()
            ending.addBoth(lambda _: published.callback(None))
            self._wait(published)

    def _tell(self, stored: Failure | None, frame: _Frame) -> Deferred[None] | None:
        """Say what became of a blob, as soon as the limit lets it be there."""
        outcome: BaseException | int | None = frame.error
        if outcome is None:
            outcome = stored.value if isinstance(stored, Failure) else frame.size
        if self._turns:
            return Deferred.fromCoroutine(self._tell_in_turn(frame, outcome))
        self._ended(frame.blob_id, outcome)
        return None

    async def _tell_in_turn(self, frame: _Frame, outcome: BaseException | int | None) -> None:
        # Small blobs would not be held to the limit at all, if each could end before its turn.
        for turn in list(self._turns):
            await turn
        self._ended(frame.blob_id, outcome)

    def _ended_frame(self, result: object, frame: _Frame, ending: Deferred[None]) -> None:
        self._endings.discard(ending)
        self._unpublished -= frame.size


def deliver(response: IResponse, receiver: _Receiver) -> Deferred[None]:
    """
    Let a receiver have an answer's body.

    :return: its ``finished``.
    """
    response.deliverBody(receiver)
    return receiver.finished
