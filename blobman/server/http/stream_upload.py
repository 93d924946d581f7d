"""
The blobs of a stream up, one after another.

Small ones are stored some at a time, so that they share the waits for the disk; a large one is
written as it comes.
"""

from __future__ import annotations

from collections import deque

from ...errors import BlobAlreadyExistsError, BlobError, QuotaExceededError
from ...protocol import MAX_SEALED_SIZE, MIN_SEALED_SIZE, ProtocolError
from ..accounts.admission import Hold
from ..storage.interface import SMALL, BlobName, IBlobsBackend
from .body import Body
from .refusals import Refusal
from .users import Target

BATCH = 1024 * 1024
"""Bytes of small blobs that are stored together."""


class StreamReader:
    """Cuts a body into a line and pieces of given sizes."""

    def __init__(self, body: Body) -> None:
        self._body = body
        # Views: of what comes at once, many blobs are cut off.
        self._pieces: deque[memoryview] = deque()

    async def _more(self) -> bool:
        pieces = await self._body.read()
        self._pieces.extend(map(memoryview, pieces))
        return bool(pieces)

    async def read_line(self, limit: int, hold: Hold = lambda _: None) -> bytes:
        """
        Read the first line.

        :param hold: is called with the number of bytes that have to be held, as they come.
        :raise ProtocolError: the body ends before, or the line is too long.
        """
        line = bytearray()
        while True:
            while self._pieces:
                piece = bytes(self._pieces.popleft())
                end = piece.find(b"\n")
                part = piece if end < 0 else piece[:end]
                if len(line) + len(part) > limit:
                    raise Refusal(413, "the first line is too long")
                hold(len(part))
                line += part
                if end >= 0:
                    self._put_back(memoryview(piece)[end + 1 :])
                    return bytes(line)
            if not await self._more():
                raise ProtocolError("the stream ends before its first line does")

    def _put_back(self, rest: memoryview) -> None:
        if rest:
            self._pieces.appendleft(rest)

    async def read_some(self, most: int) -> list[memoryview]:
        """
        Read what there is.

        :param most: bytes; at least 1.
        :return: at least one byte.
        :raise ProtocolError: the body has ended.
        """
        if not self._pieces and not await self._more():
            raise ProtocolError("the stream ends before its last blob does")
        taken = []
        while most and self._pieces:
            piece = self._pieces.popleft()
            if len(piece) > most:
                self._put_back(piece[most:])
                piece = piece[:most]
            taken.append(piece)
            most -= len(piece)
        return taken

    async def read_exactly(self, size: int) -> bytes:
        """
        Read that many bytes.

        :raise ProtocolError: the body ends before.
        """
        taken: list[memoryview] = []
        while size:
            some = await self.read_some(size)
            taken += some
            size -= sum(map(len, some))
        return b"".join(taken)

    async def skip(self, size: int) -> None:
        """
        Throw that many bytes away.

        :raise ProtocolError: the body ends before.
        """
        while size:
            size -= sum(map(len, await self.read_some(size)))

    async def expect_end(self) -> None:
        """
        Look that nothing follows.

        :raise ProtocolError: something does.
        """
        if self._pieces or await self._more():
            raise ProtocolError("the stream goes on after its last blob")


class StreamUpload:
    """
    Stores the blobs of a stream, one after another.

    :param reader: is at the first blob.
    """

    def __init__(self, backend: IBlobsBackend, reader: StreamReader) -> None:
        self._backend = backend
        self._reader = reader
        self._results: list[tuple[str, str]] = []
        self._batch: list[tuple[int, BlobName, bytes]] = []
        self._batch_size = 0

    def results(self) -> list[tuple[str, str]]:
        """Give the ids that were taken, with what became of them."""
        return self._results

    async def take(self, target: Target, blob_id: str, size: int) -> None:
        """
        Take the next blob.

        :raise ProtocolError: the body ends before the blob does; those before it are stored.
        """
        self._results.append((blob_id, "invalid"))
        try:
            name = target.blob(blob_id)
        except ProtocolError:
            name = None
        try:
            if name is None or not MIN_SEALED_SIZE <= size <= MAX_SEALED_SIZE:
                await self._reader.skip(size)
            elif size <= SMALL:
                await self._take_small(name, size)
            else:
                await self._take_large(name, size)
        except BaseException:
            await self.store_batch()
            raise

    async def _take_small(self, name: BlobName, size: int) -> None:
        content = await self._reader.read_exactly(size)
        self._batch.append((len(self._results) - 1, name, content))
        self._batch_size += size
        if self._batch_size >= BATCH:
            await self.store_batch()

    async def _take_large(self, name: BlobName, size: int) -> None:
        await self.store_batch()
        place = len(self._results) - 1
        try:
            upload = await self._backend.receive(name, size)
        except BlobError as error:
            self._set(place, error)
            await self._reader.skip(size)
            return
        try:
            while upload.size < size:
                await upload.write(await self._reader.read_some(size - upload.size))
        except BaseException:
            await upload.discard()
            raise
        try:
            await upload.publish()
        except BlobError as error:
            self._set(place, error)
        else:
            self._set(place, None)

    async def store_batch(self) -> None:
        """Store the small blobs that wait."""
        batch, self._batch, self._batch_size = self._batch, [], 0
        if batch:
            outcomes = await self._backend.store([(name, content) for _, name, content in batch])
            for (place, _, _), error in zip(batch, outcomes, strict=True):
                self._set(place, error)

    def _set(self, place: int, error: BlobError | None) -> None:
        blob_id, _ = self._results[place]
        self._results[place] = (blob_id, _result_of(error))


def _result_of(error: BlobError | None) -> str:
    if error is None:
        return "created"
    if isinstance(error, BlobAlreadyExistsError):
        return "exists"
    if isinstance(error, QuotaExceededError):
        return "quota"
    raise error
