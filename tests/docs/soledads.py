"""Soledad's secrets file, as the page about porting describes it."""

from __future__ import annotations

import json
from base64 import b64encode
from hashlib import scrypt

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

LOCAL_SECRET, LOCAL_SALT, REMOTE_SECRET = b"l" * 448, b"s" * 64, bytes(range(256)) * 2


def secrets_file(passphrase: str) -> bytes:
    """Make a file of version 2."""
    salt, iv = b"k" * 64, b"i" * 16
    inner = json.dumps(
        {
            "remote_secret": _text(REMOTE_SECRET),
            "local_salt": _text(LOCAL_SALT),
            "local_secret": _text(LOCAL_SECRET),
        }
    ).encode()
    key = scrypt(passphrase.encode(), salt=salt, n=2**14, r=8, p=1, dklen=32)
    outer = {
        "version": 2,
        "kdf": "scrypt",
        "kdf_salt": _text(salt),
        "kdf_length": 32,
        "cipher": 2,
        "length": len(inner),
        "iv": b64encode(iv).decode(),
        "secrets": _text(AESGCM(key).encrypt(iv, inner, None)),
    }
    return json.dumps(outer).encode()


def _text(value: bytes) -> str:
    return b64encode(value).decode() + "\n"
