"""
From the user's secret to the key of one blob.
"""

from __future__ import annotations

import hmac

from ..model import check_name

__all__ = ["UNUSED_SECRET_SIZE", "blob_key", "check_secret"]

UNUSED_SECRET_SIZE = 64
"""Bytes at the start of a secret that are not used for blobs; Soledad had other uses for them."""


def check_secret(secret: str | bytes) -> bytes:
    """
    Check the secret that blobs are sealed with. No error shows any of it.

    :param secret: a ``str`` is taken as its Latin-1 bytes.
    :raise TypeError: it is neither a ``str`` nor ``bytes``.
    :raise ValueError: it has 64 bytes or fewer, or a character that Latin-1 lacks.
    """
    if isinstance(secret, str):
        # Encoding and catching the failure would chain an exception that holds the secret.
        if any(character > "\xff" for character in secret):
            raise ValueError("secret has characters that are not in Latin-1: hand it in as bytes")
        secret = secret.encode("latin-1")
    if not isinstance(secret, bytes):
        raise TypeError(f"secret must be a str or bytes, not {type(secret).__name__}")
    if len(secret) <= UNUSED_SECRET_SIZE:
        raise ValueError(
            f"secret must have more than {UNUSED_SECRET_SIZE} bytes, this has {len(secret)}"
        )
    return secret


def blob_key(secret: bytes, blob_id: str) -> bytes:
    """
    Derive the key of one blob: HMAC-SHA256 of its id, under the secret from byte 64 on.

    :return: 32 bytes.
    :raise TypeError: the secret is neither ``bytes`` nor ``str``, or the id not a ``str``.
    :raise ValueError: the secret is too short, or the id is not a name.
    """
    message = check_name("blob_id", blob_id).encode("ascii")
    # Not hmac.digest: it lets other threads run meanwhile, and may have to wait for them.
    return hmac.new(check_secret(secret)[UNUSED_SECRET_SIZE:], message, "sha256").digest()
