"""The document that ``put`` takes."""

from __future__ import annotations

import uuid
from typing import BinaryIO

from .model import check_name

__all__ = ["BlobDoc"]


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
