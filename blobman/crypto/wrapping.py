"""
What all that makes a sealed blob has in common: a preamble first, and content that is counted.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import CipherContext

from .preamble import write_preamble_text
from .sizes import check_content_size

__all__ = ["SEPARATOR", "TAG_SIZE", "Octets", "Wrapping", "update_in_pieces"]

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


def update_in_pieces(cipher: CipherContext, data: Octets, buffer: bytearray) -> None:
    """
    Have a cipher seal or open data at once; in small pieces if it is small.

    :param buffer: takes what comes out; at least as long.
    """
    if len(data) > SMALL:
        cipher.update_into(data, buffer)
        return
    view, target = memoryview(data), memoryview(buffer)
    for start in range(0, len(data), SMALL_PIECE):
        cipher.update_into(view[start : start + SMALL_PIECE], target[start:])


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
