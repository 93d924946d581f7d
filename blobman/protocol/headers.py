"""The headers ``Tag``, ``Range`` and ``Retry-After``."""

from __future__ import annotations

import base64
import binascii
import re

from .messages import ProtocolError
from .sizes import TAG_SIZE


def write_tag(tag: bytes) -> str:
    """Write a tag as the ``Tag`` header has it."""
    return base64.urlsafe_b64encode(tag).decode("ascii")


def read_tag(text: str) -> bytes:
    """
    Read a ``Tag`` header.

    :raise ProtocolError: it is not the base64 of :data:`TAG_SIZE` bytes.
    """
    try:
        tag = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ProtocolError("the tag is not base64") from error
    # Decoding is lenient with the other alphabet and with spare bits.
    if write_tag(tag) != text:
        raise ProtocolError("the tag is not URL-safe base64")
    if len(tag) != TAG_SIZE:
        raise ProtocolError(f"the tag has {len(tag)} bytes instead of {TAG_SIZE}")
    return tag


_RANGE = re.compile(r"\s*bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*", re.ASCII | re.IGNORECASE)

_LONGEST_NUMBER = 20


def read_range(value: str, size: int) -> tuple[int, int] | None:
    """
    Read a ``Range`` header as RFC 9110 has it (section 14): the last byte is included.

    An end past the size is cut; ``bytes=-n`` asks for the last n bytes.

    :param size: the size in bytes of what is asked for.
    :return: the first byte, and the one after the last; or None if the header
        is to be ignored: another unit, several ranges, or not a range at all.
    :raise ProtocolError: there is nothing in that range (416).
    """
    match = _RANGE.fullmatch(value)
    if match is None or match.groups() == ("", ""):
        return None
    first_text, last_text = match.groups()
    first, last = (_read_position(text, size) if text else None for text in (first_text, last_text))
    if first is None:
        assert last is not None
        start, end = max(0, size - last), size
    else:
        if last is not None and last < first:
            return None
        start, end = first, size if last is None else min(last + 1, size)
    if start >= end:
        raise ProtocolError(f"no byte of {size} is in the range")
    return start, end


def _read_position(text: str, size: int) -> int:
    """Read digits; a number too long to be read is as good as any beyond the size."""
    digits = text.lstrip("0")
    return int(digits or "0") if len(digits) <= _LONGEST_NUMBER else size


def read_retry_after(value: str | None) -> float | None:
    """
    Read a ``Retry-After`` header given in seconds; a date is not used.

    :return: seconds, or None if there is no such header or it can't be read.
    """
    match = re.fullmatch(r"[ \t]*(\d{1,9})[ \t]*", value or "", re.ASCII)
    return None if match is None else float(match.group(1))
