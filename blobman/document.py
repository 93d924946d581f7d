"""The document that ``put`` takes, and the file that ``get`` gives."""

from __future__ import annotations

import io
import uuid
from typing import BinaryIO

from .errors import describe
from .model import BlobKey, check_name

__all__ = ["BlobDoc", "BlobReader", "RawBlob"]


class BlobDoc:
    """
    Binary content with an id.

    :cvar is_blob: tells it from other kinds of documents.
    :ivar blob_fd: a seekable binary file; what it holds from its start is the content.
    :ivar blob_id: the id.
    """

    is_blob = True

    def __init__(self, content: BinaryIO, blob_id: str | None = None) -> None:
        """
        Make a document.

        :param content: a seekable binary file, such as ``open(path, "rb")`` or ``io.BytesIO``.
        :param blob_id: None for a new random one (a uuid4 in hexadecimal).
        :raise TypeError: the id is not a ``str``, or the content not a file.
        :raise ValueError: the id is not a name.
        """
        if not callable(getattr(content, "read", None)):
            raise TypeError(f"content must be a binary file, not {type(content).__name__}")
        self.blob_fd = content
        self.blob_id = uuid.uuid4().hex if blob_id is None else check_name("blob_id", blob_id)

    def __repr__(self) -> str:
        return f"<BlobDoc {self.blob_id}>"


class RawBlob(io.RawIOBase):
    """The unbuffered file below a :class:`BlobReader`; each kind of store has its own."""

    def getvalue(self) -> bytes:
        """Read all of it, without moving."""
        raise NotImplementedError


class BlobReader(io.BufferedReader):
    """
    A local copy as a seekable, read-only binary file, positioned at 0.

    It holds one chunk of 1 MiB at most, and may be read in any thread. Reading it raises
    :class:`~blobman.errors.ClosedError` once the store is closed,
    :class:`~blobman.errors.BlobNotFoundError` if the blob was deleted and its bytes are gone,
    and :class:`~blobman.errors.StoreError` if they can't be read or are damaged.

    :ivar blob_id: the blob's id.
    :ivar namespace: where it is.
    :ivar size: how many bytes it has.
    :ivar external: others sealed it: these are the bytes as they were delivered, and they
        have not been verified.
    """

    def __init__(
        self, raw: RawBlob, key: BlobKey, size: int, external: bool, buffer_size: int = 8192
    ) -> None:
        """
        Read a copy that a store has.

        :param buffer_size: how many bytes are read at a time at least.
        """
        self._blob = raw
        super().__init__(raw, buffer_size)
        self.namespace, self.blob_id = key
        self.size = size
        self.external = external

    def __repr__(self) -> str:
        return f"<BlobReader of {describe(self.blob_id, self.namespace)}, {self.size} bytes>"

    def getvalue(self) -> bytes:
        """
        Read all of it, wherever the position is; that stays where it is.

        :raise ValueError: the file is closed.
        """
        if self.closed:
            raise ValueError("I/O operation on closed file")
        return self._blob.getvalue()
