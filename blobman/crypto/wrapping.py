"""
What all that makes a sealed blob has in common: a preamble first, and content that is counted.
"""

from __future__ import annotations

from collections.abc import Iterator

from .preamble import write_preamble_text
from .sizes import check_content_size

__all__ = ["SEPARATOR", "TAG_SIZE", "Octets", "Wrapping", "pieces"]

SEPARATOR = b" "
"""What ends the preamble."""

TAG_SIZE = 16
"""Bytes of the authentication tag, which comes last."""

SMALL = 128 * 1024
"""Bytes of content that are sealed, or opened, in small pieces if they are there at once."""

SMALL_PIECE = 2032
"""
Bytes of such a piece.

From 2048 bytes on, a cipher lets other threads run meanwhile, and may have to wait for them: for
hundreds of times as long as the piece takes.
"""

Octets = bytes | bytearray | memoryview
"""What can be fed. The items of a ``memoryview`` have to be single bytes."""


def pieces(data: Octets) -> Iterator[tuple[int, memoryview]]:
    """Cut data into small pieces, with their positions, if it is small itself."""
    view = memoryview(data)
    size = SMALL_PIECE if len(view) <= SMALL else len(view)
    for start in range(0, len(view), size):
        yield start, view[start : start + size]


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
