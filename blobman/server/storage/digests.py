"""
Digests by which damage is noticed: of a row of the catalogue, and of the chunks of a payload.

They are AES-GMAC under a key that is no secret. That makes them checksums of 128 bits at many
gigabytes a second; they keep out accidents, not whoever can write to the disk. What users sealed
has an authentication tag of its own, which only they can check.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .interface import DamagedError

DIGEST_SIZE = 16
"""Bytes of a digest."""

CHUNK = 256 * 1024
"""Bytes of a payload that have a digest of their own."""

_KEY, _NONCE = bytes(32), bytes(12)
_GCM = AESGCM(_KEY)
_CIPHER = Cipher(algorithms.AES(_KEY), modes.GCM(_NONCE))


def digest_of(data: bytes) -> bytes:
    """Digest some bytes."""
    return _GCM.encrypt(_NONCE, b"", data)


def is_chunk(digests: bytes, number: int, chunk: bytes) -> bool:
    """
    Hold a chunk of a payload against its digest.

    :param digests: of all chunks; if empty, none were recorded, and nothing is compared.
    :param number: which chunk it is; the first one is 0.
    """
    expected = digests[number * DIGEST_SIZE : (number + 1) * DIGEST_SIZE]
    return not digests or digest_of(chunk) == expected


def check_chunk(digests: bytes, number: int, chunk: bytes) -> None:
    """
    See that a chunk of a payload is as it was written; see :func:`is_chunk`.

    :raise DamagedError: it is not.
    """
    if not is_chunk(digests, number, chunk):
        raise DamagedError("a payload is not as it was written")


class ChunkDigests:
    """Digests the chunks of a payload, which comes in pieces of any size."""

    def __init__(self) -> None:
        self._ended: list[bytes] = []
        self._begin()

    def _begin(self) -> None:
        self._chunk = _CIPHER.encryptor()
        self._left = CHUNK

    def update(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Take the next pieces."""
        for piece in pieces:
            view = memoryview(piece)
            while view:
                part, view = view[: self._left], view[self._left :]
                self._chunk.authenticate_additional_data(part)
                self._left -= len(part)
                if not self._left:
                    self._end()

    def _end(self) -> None:
        self._chunk.finalize()
        self._ended.append(self._chunk.tag)
        self._begin()

    def finish(self) -> bytes:
        """Give the digests of all chunks, one after another. Take nothing more."""
        if self._left < CHUNK:
            self._end()
        return b"".join(self._ended)
