"""Sizes of a sealed blob and of its parts."""

from __future__ import annotations

TAG_SIZE = 16
"""Bytes of an authentication tag; a stored blob ends with it."""

TAG_TEXT_SIZE = 24
"""Characters of a tag as URL-safe base64, padded."""

PREAMBLE_SIZES = (736, 724)
"""Characters of a preamble as URL-safe base64: the present one, and the legacy one."""

MIN_SEALED_SIZE = min(PREAMBLE_SIZES) + 1
"""Bytes of the smallest thing that can be a sealed blob: a preamble, and the space after it."""

MAX_SEALED_SIZE = max(PREAMBLE_SIZES) + 1 + 2**36 - 32 + TAG_SIZE
"""Bytes of the largest sealed blob: AES-GCM can't seal more than it holds."""
