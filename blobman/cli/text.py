"""Names, sizes, times, tables and bytes, for people to read."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")

# Controls, separators of lines, marks that turn the direction of text, bytes that are no UTF-8.
_UNSEEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def visible(text: str) -> str:
    r"""
    Show in one line what would act on a terminal instead of being seen.

    All that is written for people goes through this once: names of files can hold anything.

    :return: it with escapes as in ``\n``, ``\x1b`` and ``\u2028``; ``\xff`` for a byte of a name
        that is no UTF-8.
    """
    return _UNSEEN.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return {"\n": r"\n", "\r": r"\r", "\t": r"\t"}.get(
        match[0], f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}"
    )


def size_text(size: float) -> str:
    """Write a number of bytes in three digits or a little more: ``753 B``, ``50.0 MB``."""
    for unit in _UNITS:
        # What would be rounded to 1000.0 belongs to the next unit.
        if size < 999.95 or unit == _UNITS[-1]:
            break
        size /= 1000
    return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"


def duration_text(seconds: float) -> str:
    """Write seconds: ``0.04 s``, ``12.3 s``, ``2:05``, ``1:02:05``."""
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def clock_text(seconds: float) -> str:
    """Write seconds as a clock that runs down does: ``0:12``, ``1:02:05``, ``3 d``."""
    if seconds >= 100 * 3600:
        return f"{seconds / 86400:.0f} d"
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def in_namespace(name: str) -> str:
    """Say in which namespace something is; nothing if it is the default one."""
    return f" in namespace {name}" if name else ""


def shorten(text: str, width: int) -> str:
    """Cut out the middle of what is too long."""
    if len(text) <= width:
        return text
    start = (width - 3) // 2
    return text[:start] + "..." + text[len(text) - (width - 3 - start) :]


def table_lines(rows: Sequence[Sequence[str]], left: int = 1) -> Iterator[str]:
    """
    Set a table: two spaces between columns.

    :param left: so many columns are aligned to the left, the others to the right.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.ljust(width) if index < left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def hexdump_lines(data: bytes, offset: int = 0) -> Iterator[str]:
    """Show bytes as ``hexdump -C`` does, 16 to a line of 76 characters."""
    for start in range(0, len(data), 16):
        line = data[start : start + 16]
        digits = " ".join(f"{byte:02x}" for byte in line)
        letters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in line)
        yield f"{offset + start:08x}  {digits:<47}  |{letters}|"
