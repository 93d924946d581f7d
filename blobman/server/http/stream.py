"""
``/stream/``: many blobs in one request, either way.

Up, small blobs are stored some at a time, so that they share the waits for the disk; a large one is
written as it comes. Down, the next blobs are opened while one is being sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from twisted.cred.portal import Portal
from twisted.internet.threads import deferToThreadPool

from ...errors import BlobAlreadyExistsError, BlobError, QuotaExceededError
from ...protocol import MIN_SEALED_SIZE, ProtocolError, read_ids, read_manifest, write_results
from ..storage import BlobName, IBlobsBackend
from .answers import JSON_TYPE, PacedWriter, Refusal, answer, check_present
from .blobs import Handler, Target, UserResource
from .body import Body
from .frames import send_frames
from .limits import Admission, Hold
from .upload import SMALL

if TYPE_CHECKING:
    from .request import BlobsRequest

_T = TypeVar("_T")

IDS_LIMIT = 20_000
"""The most ids in a stream."""

LINE_LIMIT = 6 * 1024 * 1024
"""The most bytes of a list of ids, or of the first line of an upload."""

BATCH = 1024 * 1024
"""Bytes of small blobs that are stored together."""


class StreamResource(UserResource):
    """
    ``/stream/``.

    :param backend: where the blobs are.
    """

    def __init__(self, portal: Portal, admission: Admission, backend: IBlobsBackend) -> None:
        super().__init__(portal, admission)
        self._backend = backend

    def handlers(self, parts: list[str]) -> dict[str, Handler]:
        """Know one place."""
        if parts not in ([], [""]):
            raise Refusal(404, "no such place")
        return {"POST": self._stream}

    async def _stream(self, request: BlobsRequest, target: Target) -> None:
        direction = target.fields.get("direction")
        if direction == "download":
            await self._download(request, target)
        elif direction == "upload":
            await self._upload(request, target)
        else:
            raise ProtocolError("direction must be upload or download")

    async def _download(self, request: BlobsRequest, target: Target) -> None:
        namespace = target.namespace
        with self._admission.holding(target.user) as hold:
            body = await request.body.read_all(LINE_LIMIT, hold)
            check_number(body, commas=IDS_LIMIT - 1, brackets=1)
            ids = await _parsed(request, read_ids, body)
            del body
            names = [BlobName(target.user, namespace, blob_id) for blob_id in ids]
            check_present(request)
            head = [("Content-Type", "application/octet-stream")]
            with PacedWriter(request, 200, head) as writer:
                await send_frames(writer, self._backend, names)

    async def _upload(self, request: BlobsRequest, target: Target) -> None:
        # It is checked for each blob; but if it is none, that is nobody's fault but the request's.
        _ = target.namespace
        reader = StreamReader(request.body)
        with self._admission.holding(target.user) as hold:
            line = await reader.read_line(LINE_LIMIT, hold)
            check_number(line, commas=2 * IDS_LIMIT - 1, brackets=IDS_LIMIT + 1)
            manifest = await _parsed(request, read_manifest, line)
            del line
            storing = StreamUpload(self._backend, reader)
            for blob_id, size in manifest:
                await storing.take(target, blob_id, size)
            await storing.store_batch()
            await reader.expect_end()
            await answer(request, 200, write_results(storing.results()), JSON_TYPE)


async def _parsed(request: BlobsRequest, parse: Callable[[bytes], _T], data: bytes) -> _T:
    """Parse a body; in a thread, if it is so large that others would have to wait."""
    if len(data) <= SMALL:
        return parse(data)
    return await deferToThreadPool(request.reactor, request.reactor.getThreadPool(), parse, data)


def check_number(data: bytes, commas: int, brackets: int) -> None:
    """
    Look whether a list can be parsed: what takes long, and much memory, are many values.

    :param commas: how many a list as long as allowed has.
    :param brackets: likewise.
    :raise Refusal: there are more (413).
    """
    if data.count(b",") > commas or data.count(b"[") + data.count(b"{") > brackets:
        raise Refusal(413, f"more than {IDS_LIMIT} blobs in a stream, or lists in a list")


# -- up --------------------------------------------------------------------------------


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
            if name is None or size < MIN_SEALED_SIZE:
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
