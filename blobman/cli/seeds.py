"""
A seed: what a user's keys are derived from, and its recovery code. No I/O.

The recovery code is the seed and the first bytes of its SHA-256, in the letters of base32: ``A`` to
``Z`` and ``2`` to ``7``. The keys are derived with HKDF-SHA256, each under a name of its own.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import string
import unicodedata
from dataclasses import dataclass, field

SEED_SIZE = 32
"""Bytes; they are random."""

CODE_LENGTH = 56
"""Letters."""

_CHECKSUM_SIZE = 3
_GROUP = 4
_LETTERS = frozenset(string.ascii_letters + "234567")


class RecoveryCodeError(ValueError):
    """That is no recovery code. The message does not show it."""


@dataclass(frozen=True)
class Keys:
    """
    What a seed gives, in the form that ``blobman keygen`` writes.

    :ivar store: the key of local stores.
    :ivar secret: the secret that blobs are sealed with.
    """

    store: bytes = field(repr=False)
    secret: bytes = field(repr=False)


def derive_keys(seed: bytes) -> Keys:
    """Derive the keys. The same seed gives the same ones on every machine."""
    return Keys(
        base64.urlsafe_b64encode(_derive(seed, b"blobman 1 key of the store", 96)),
        base64.urlsafe_b64encode(_derive(seed, b"blobman 1 secret of the blobs", 96)),
    )


def check_value(seed: bytes) -> bytes:
    """Derive what tells whether two seeds are the same, and nothing else about them."""
    return _derive(seed, b"blobman 1 check value", 16)


def _derive(seed: bytes, purpose: bytes, size: int) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(algorithm=SHA256(), length=size, salt=None, info=purpose).derive(seed)


def write_code(seed: bytes) -> str:
    """Write the recovery code of a seed, in groups with dashes between."""
    letters = base64.b32encode(seed + _checksum(seed)).decode("ascii")
    return "-".join(letters[at : at + _GROUP] for at in range(0, CODE_LENGTH, _GROUP))


def read_code(text: str) -> bytes:
    """
    Read a recovery code. Spaces, dashes and case do not matter.

    :return: the seed.
    :raise RecoveryCodeError: it is none, or was mistyped.
    """
    letters = [it for it in text if not (it.isspace() or unicodedata.category(it) == "Pd")]
    for index, letter in enumerate(letters):
        if letter not in _LETTERS:
            group = index // _GROUP + 1
            raise RecoveryCodeError(f"group {group} of the recovery code has more than A-Z and 2-7")
    if len(letters) != CODE_LENGTH:
        raise RecoveryCodeError(f"a recovery code has {CODE_LENGTH} letters, this {len(letters)}")
    decoded = base64.b32decode("".join(letters).upper())
    seed, checksum = decoded[:SEED_SIZE], decoded[SEED_SIZE:]
    if not hmac.compare_digest(checksum, _checksum(seed)):
        raise RecoveryCodeError("the recovery code has a mistake in it, or its groups are mixed up")
    return seed


def _checksum(seed: bytes) -> bytes:
    return hashlib.sha256(seed).digest()[:_CHECKSUM_SIZE]
