"""The file that ``get`` returns, and where its bytes come from."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..document import BlobReader, RawBlob
from ..errors import BlobNotFoundError, ClosedError, StoreError, describe
from ..model import BlobKey
from .digests import is_intact
from .payload_rows import Payload
from .payloads import PayloadFiles
from .schema import CHUNK_SIZE

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["Chunks", "open_reader"]


class Chunks:
    """
    A payload's content, chunk by chunk; may be called in any thread.

    :ivar key: the blob's.
    :ivar payload: what is recorded about it.
    :ivar count: how many chunks there are; 0 for an empty blob.
    """

    def __init__(
        self, key: BlobKey, payload: Payload, files: PayloadFiles, closed: Callable[[], bool]
    ) -> None:
        self.key = key
        self.payload = payload
        self.count = -(-payload.size // CHUNK_SIZE)
        self._files = files
        self._closed = closed

    def read(self, number: int) -> bytes:
        """
        Read a chunk.

        :raise BlobNotFoundError: the blob has been deleted meanwhile.
        :raise StoreError: it can't be read, or is damaged.
        :raise ClosedError: the store was closed.
        """
        if self._closed():
            raise ClosedError("the store of this blob is closed")
        data = self._read(number)
        if data is None:
            raise BlobNotFoundError(f"{self._name()} was deleted while it was being read")
        if not self._is_intact(number, data):
            raise StoreError(f"{self._name()} is damaged: chunk {number} is not what was stored")
        return data

    def _is_intact(self, number: int, data: bytes) -> bool:
        size, digests = self.payload.size, self.payload.digests
        if len(data) != min(CHUNK_SIZE, size - number * CHUNK_SIZE):
            return False
        return digests is None or is_intact(digests, number, data)

    def _read(self, number: int) -> bytes | None:
        payload = self.payload
        if payload.file is None:
            return bytes(payload.content or b"")
        try:
            return self._files.read_chunk(payload.file, number)
        except StoreError as error:
            raise StoreError(f"{self._name()} can't be read: {error}") from error

    def open(self) -> bool:
        """
        Open its file, if it has one.

        :return: whether it is there; if not, the blob was deleted meanwhile.
        :raise StoreError: it can't be opened, or is damaged.
        """
        file = self.payload.file
        try:
            return file is None or self._files.holds(file)
        except StoreError as error:
            raise StoreError(f"{self._name()} can't be read: {error}") from error

    def _name(self) -> str:
        return describe(self.key.blob_id, self.key.namespace)


class _RawBlob(RawBlob):
    """The unbuffered file; keeps the chunk that was read last."""

    def __init__(self, chunks: Chunks) -> None:
        self._chunks = chunks
        self._size = chunks.payload.size
        self._position = 0
        self._number = -1
        self._chunk = b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._check_open()
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}
        if whence not in start:
            raise ValueError(f"whence must be 0, 1 or 2, not {whence!r}")
        position = start[whence] + offset
        if position < 0:
            raise ValueError(f"can't seek to {position}, before the start")
        self._position = position
        return position

    def tell(self) -> int:
        self._check_open()
        return self._position

    def readinto(self, buffer: WriteableBuffer) -> int:
        self._check_open()
        target = memoryview(buffer).cast("B")
        if self._position >= self._size or not target:
            return 0
        number, start = divmod(self._position, CHUNK_SIZE)
        if number != self._number:
            self._chunk, self._number = self._chunks.read(number), number
        count = min(len(self._chunk) - start, len(target))
        target[:count] = memoryview(self._chunk)[start : start + count]
        self._position += count
        return count

    def readall(self) -> bytes:
        self._check_open()
        data = self._content_from(self._position)
        self._position += len(data)
        return data

    def getvalue(self) -> bytes:
        return self._content_from(0)

    def _content_from(self, position: int) -> bytes:
        """Read from a position to the end, without moving."""
        number, start = divmod(position, CHUNK_SIZE)
        if self._chunks.count == 1 and position == 0:
            return self._chunks.read(0)
        parts = []
        for index in range(number, self._chunks.count):
            data = self._chunks.read(index)
            parts.append(memoryview(data)[start:] if index == number and start else data)
        return b"".join(parts)

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")


def open_reader(chunks: Chunks) -> BlobReader:
    """Give the file of a local copy."""
    payload = chunks.payload
    buffer_size = 65536 if chunks.count > 1 else 8192
    return BlobReader(_RawBlob(chunks), chunks.key, payload.size, payload.external, buffer_size)
