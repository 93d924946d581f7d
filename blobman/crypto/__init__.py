"""
Sealed blobs: bytes in, bytes out. No I/O, no clock, no randomness, no Twisted.

- :mod:`.preamble`: what stands before the ciphertext, and its binary form
- :mod:`.extension`: what it says beyond Soledad's fields: where the blob belongs
- :mod:`.sizes`: how much can be sealed, and what a preamble says about it
- :mod:`.keys`: from the user's secret to the key of one blob
- :mod:`.sealing`: :class:`Sealer`, cleartext to sealed blob
- :mod:`.rewrapping`: :class:`Rewrapper`, for what others sealed; :func:`make_sealer` tells which
- :mod:`.wrapping`: what these two have in common
- :mod:`.opening`: :class:`Opener`, sealed blob to cleartext
- :mod:`.seals`: :class:`Seals`, what a user seals and opens with, and where each blob belongs
"""

from __future__ import annotations

from .keys import blob_key, check_secret
from .opening import Opener
from .preamble import (
    IV_SIZE,
    LEGACY_PREAMBLE_SIZE,
    PREAMBLE_SIZE,
    PREAMBLE_TEXT_SIZE,
    Method,
    Preamble,
    Scheme,
)
from .rewrapping import Rewrapper, make_sealer
from .sealing import SEALED_OVERHEAD, Sealer, sealed_size
from .seals import Seals
from .sizes import MAX_CONTENT_SIZE, padded_size
from .wrapping import TAG_SIZE

__all__ = [
    "IV_SIZE",
    "LEGACY_PREAMBLE_SIZE",
    "MAX_CONTENT_SIZE",
    "PREAMBLE_SIZE",
    "PREAMBLE_TEXT_SIZE",
    "SEALED_OVERHEAD",
    "TAG_SIZE",
    "Method",
    "Opener",
    "Preamble",
    "Rewrapper",
    "Scheme",
    "Sealer",
    "Seals",
    "blob_key",
    "check_secret",
    "make_sealer",
    "padded_size",
    "sealed_size",
]
