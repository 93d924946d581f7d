"""
How much can be sealed, and what a sealed blob gives away about it.
"""

from __future__ import annotations

from ..model import check_size

__all__ = ["MAX_CONTENT_SIZE", "SMALLEST_PADDED_SIZE", "check_content_size", "padded_size"]

MAX_CONTENT_SIZE = 2**36 - 32
"""Bytes that AES-GCM can seal under one key and IV (NIST SP 800-38D, section 5.2.1.1)."""

SMALLEST_PADDED_SIZE = 4096
"""The least that a preamble says about a size, in bytes."""


def padded_size(size: int) -> int:
    """
    Round a size up, so that a preamble does not give it away.

    :param size: the size of the cleartext in bytes.
    :return: the smallest power of two that is strictly greater, and at least 4096.
    """
    return max(SMALLEST_PADDED_SIZE, 1 << size.bit_length())


def check_content_size(size: object) -> int:
    """
    Check a size in bytes that is to be sealed.

    :return: the size, if it is good.
    :raise TypeError: it is not an ``int``.
    :raise ValueError: it is negative, or above :data:`MAX_CONTENT_SIZE`.
    """
    if (checked := check_size(size)) > MAX_CONTENT_SIZE:
        raise ValueError(f"size must be at most {MAX_CONTENT_SIZE} bytes, not {checked}")
    return checked
