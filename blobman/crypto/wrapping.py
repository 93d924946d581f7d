"""
What all that makes a sealed blob has in common: a preamble first, and content that is counted.
"""

from __future__ import annotations

from .preamble import write_preamble_text
from .sizes import check_content_size

__all__ = ["SEPARATOR", "TAG_SIZE", "Octets", "Wrapping"]

SEPARATOR = b" "
"""What ends the preamble."""

TAG_SIZE = 16
"""Bytes of the authentication tag, which comes last."""

Octets = bytes | bytearray | memoryview
"""What can be fed. The items of a ``memoryview`` have to be single bytes."""


class Wrapping:
    """
    A sealed blob in the making, of which the size is known.

    :ivar size: the size of the content in bytes.
    :ivar sealed_size: the size of the sealed blob in bytes.
    """

    def __init__(self, preamble: bytes, size: int, trailer_size: int) -> None:
        self.size = check_content_size(size)
        self._header = write_preamble_text(preamble) + SEPARATOR
        self.sealed_size = len(self._header) + size + trailer_size
        self._missing = size
        self._ended = False

    def header(self) -> bytes:
        """Give what comes first: the preamble in base64, and the space after it."""
        return self._header

    def _check_room(self, length: int) -> None:
        if self._ended:
            raise ValueError("the blob has been sealed already")
        if length > self._missing:
            raise ValueError(f"the content is longer than the {self.size} bytes announced")

    def _end(self) -> None:
        self._check_room(0)
        if self._missing:
            raise ValueError(f"{self._missing} of {self.size} bytes of content are missing")
        self._ended = True
