"""
Blobs that Soledad 0.10.8 sealed, and the recipe for their cleartexts.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode
from dataclasses import dataclass
from pathlib import Path

from blobman.crypto import Opener

_FILE = Path(__file__).parent.parent / "vectors" / "soledad-sealed-blobs.json"
_DATA = json.loads(_FILE.read_text("ascii"))

SECRET: bytes = _DATA["secret"].encode("latin-1")


@dataclass(frozen=True)
class Vector:
    """What is None is not in the file."""

    blob_id: str
    size: int
    sealed: bytes | None = None
    sealed_sha256: str | None = None
    cleartext_sha256: str | None = None
    key: bytes | None = None
    iv: bytes | None = None
    tag: bytes | None = None
    timestamp: int | None = None
    content_size: int | None = None

    @property
    def cleartext(self) -> bytes:
        return cleartext(self.size)


def cleartext(size: int) -> bytes:
    """Make the first bytes of SHA-256("blobman-vector-0"), SHA-256("blobman-vector-1"), ..."""
    blocks = (
        hashlib.sha256(f"blobman-vector-{number}".encode()).digest()
        for number in range(size // 32 + 1)
    )
    return b"".join(blocks)[:size]


BLOBS = [
    Vector(
        blob_id=blob["blob_id"],
        size=blob["size"],
        sealed=b64decode(blob["sealed_base64"]) if blob["sealed_base64"] else None,
        sealed_sha256=blob["sealed_sha256"],
        cleartext_sha256=blob["cleartext_sha256"],
        key=bytes.fromhex(blob["key_hex"]),
        iv=bytes.fromhex(blob["iv_hex"]),
        tag=bytes.fromhex(blob["tag_hex"]),
        timestamp=blob["timestamp"],
        content_size=blob["content_size"],
    )
    for blob in _DATA["blobs"]
]

LEGACY = Vector(
    _DATA["legacy"]["blob_id"],
    _DATA["legacy"]["size"],
    b64decode(_DATA["legacy"]["sealed_base64"]),
)

EXTERNAL_ID: str = _DATA["external"]["blob_id"]
EXTERNAL_STORED = b64decode(_DATA["external"]["stored_base64"])
EXTERNAL_CONTENT = b64decode(_DATA["external"]["content_base64"])


def named(blob_id: str) -> Vector:
    """Pick a blob by its id."""
    return next(vector for vector in BLOBS if vector.blob_id == blob_id)


def sealed_bytes(vector: Vector) -> bytes:
    """Give the sealed bytes that stand in the file; only the largest blobs lack them."""
    assert vector.sealed is not None
    return vector.sealed


def opener_of(secret: bytes, blob_id: str, namespace: str = "") -> Opener:
    """Make an opener that takes what others sealed, too."""
    return Opener(secret, blob_id, namespace, takes_external=True)


def open_in_pieces(opener: Opener, pieces: list[bytes]) -> bytes:
    """Feed the pieces, finish, and give what came out."""
    content = b"".join(bytes(opener.feed(piece)) for piece in pieces)
    opener.finish()
    return content
