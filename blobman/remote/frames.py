"""A stream as it comes down: taken apart, each blob opened, verified and published by itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure

from ..crypto import Opener
from ..errors import BlobNotFoundError, InvalidBlob, describe
from ..interfaces import Ended, IStagedBlob
from ..protocol import FRAME_HEADER_SIZE, NOT_THERE, ProtocolError, read_frame_header
from ..wire.idle import IdleTimer
from .receivers import PausingReceiver
from .throttle import Throttle

SMALL = 256 * 1024
"""Sealed bytes up to which a blob of a stream is collected, and opened at once."""

MAX_UNPUBLISHED = 4 * 1024 * 1024
"""Bytes of a stream's blobs that may be on their way into the store before it is paused."""


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


class FramesReceiver(PausingReceiver):
    """
    Takes a stream apart, and opens, verifies and publishes each blob by itself.

    A blob that does not verify does not keep the others from arriving. One that is too large to
    travel with others ends the stream.

    :ivar header: what came of a frame's header.
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
        self.header = bytearray()
        self._frame: _Frame | None = None
        self._endings: set[Deferred[None]] = set()
        self._unpublished = 0

    async def close(self) -> None:
        """Wait until all that came is published, and drop what came in part."""
        frame, self._frame = self._frame, None
        if frame is not None:
            await frame.staged.discard()
        await DeferredList(list(self._endings))

    @property
    def is_cut(self) -> bool:
        """Whether it ended before it was to, as far as can be told."""
        return self.may_be_cut and bool(self._expected or self._frame)

    def _take(self, data: bytes) -> None:
        view = memoryview(data)
        while view and not self.finished.called:
            view = self._take_header(view) if self._frame is None else self._take_content(view)

    def _take_header(self, view: memoryview) -> memoryview:
        missing = FRAME_HEADER_SIZE - len(self.header)
        self.header += view[:missing]
        if len(self.header) == FRAME_HEADER_SIZE:
            frame = read_frame_header(bytes(self.header))
            self.header.clear()
            self._begin_frame(*frame)
        return view[missing:]

    def _begin_frame(self, size: int, tag: bytes) -> None:
        if not self._expected:
            raise ProtocolError("the stream goes on after its last blob")
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
            self.wait_for(stored)

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
            ending = staged.publish(
                opener.preamble, opener.external, opener.tag, opener.sealed_size
            )
        else:
            ending = staged.discard()
        self._unpublished += frame.size
        self._endings.add(ending)
        ending.addBoth(self._tell, frame)
        ending.addBoth(self._ended_frame, frame, ending)
        if self._unpublished > MAX_UNPUBLISHED:
            published: Deferred[None] = Deferred()
            ending.addBoth(lambda _: published.callback(None))
            self.wait_for(published)

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
