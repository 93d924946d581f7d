"""Files of the store in memory: those that it gives, and those that it takes."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO

from ..document import BlobReader, RawBlob
from ..errors import ClosedError, UnreadableContentError, WrongSizeError, describe
from ..model import BlobKey

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["open_reader", "read_exactly"]


class _Raw(RawBlob):
    """Some bytes, as long as the store is open."""

    def __init__(self, content: bytes, is_closed: Callable[[], bool]) -> None:
        self._file = io.BytesIO(content)
        self._is_closed = is_closed

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence == 1 and self._file.tell() + offset < 0:
            raise ValueError("can't seek before the start")
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: WriteableBuffer) -> int:
        self._check_open()
        return self._file.readinto(buffer)

    def getvalue(self) -> bytes:
        self._check_open()
        return self._file.getvalue()

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")
        if self._is_closed():
            raise ClosedError("the store of this blob is closed")


def open_reader(
    key: BlobKey, content: bytes, external: bool, is_closed: Callable[[], bool]
) -> BlobReader:
    """Give the file of some bytes, which can be read as long as the store is open."""
    return BlobReader(_Raw(content, is_closed), key, len(content), external)


def read_exactly(file: BinaryIO, size: int, key: BlobKey) -> bytes:
    """
    Read a whole file, from its start.

    :param size: how many bytes it has to hold.
    :param key: whose content it is, for messages.
    :raise WrongSizeError: it holds more or less.
    :raise UnreadableContentError: reading failed.
    :raise TypeError: it is no binary file.
    :raise ValueError: it is not seekable.
    """
    if not callable(getattr(file, "read", None)) or not callable(getattr(file, "seek", None)):
        raise TypeError(f"doc must be a seekable binary file, not {type(file).__name__}")
    name = describe(key.blob_id, key.namespace)
    try:
        content = _read(file, size)
    except io.UnsupportedOperation as error:
        raise ValueError("doc must be a seekable file") from error
    except (OSError, ValueError) as error:
        raise UnreadableContentError(f"{name} can't be read: {error}") from error
    if len(content) != size:
        relation = "more" if len(content) > size else "less"
        raise WrongSizeError(f"{name} holds {relation} than the {size} bytes of size")
    return content


def _read(file: BinaryIO, size: int) -> bytes:
    file.seek(0)
    parts: list[bytes] = []
    missing = size
    while missing >= 0:
        part = file.read(missing or 1)
        if not isinstance(part, bytes):
            raise TypeError(f"doc must be a binary file: it gave {type(part).__name__}, not bytes")
        if not part:
            break
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)
