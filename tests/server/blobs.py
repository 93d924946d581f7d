"""What tests of the server send: things that can be sealed blobs."""

from __future__ import annotations

import hashlib


def sealed(text: str = "", size: int = 800) -> bytes:
    """Make bytes that are as good as a sealed blob to a server; another text makes others."""
    seed = hashlib.sha256(text.encode()).hexdigest().encode()
    return (seed * (size // len(seed) + 1))[:size]
