"""How a blob is written in a row, and what is computed from it."""

from __future__ import annotations

from collections.abc import Iterable

from ....model import Flags
from ..digests import digest_of
from ..interface import BlobName, DamagedError
from .interface import Entry, PayloadRow

_DIGIT = {flag: str(number) for number, flag in enumerate(Flags, 1)}
_FLAG = {digit: flag for flag, digit in _DIGIT.items()}


def write_flags(flags: Iterable[Flags]) -> str:
    """Write flags as digits, in their order."""
    return "".join(_DIGIT[flag] for flag in flags)


def read_flags(digits: str) -> list[Flags]:
    """
    Read flags.

    :raise DamagedError: they are none.
    """
    try:
        return [_FLAG[digit] for digit in digits]
    except KeyError as error:
        raise DamagedError("flags in the catalogue are damaged") from error


def digit_of(flag: Flags) -> str:
    """Give the digit of a flag."""
    return _DIGIT[flag]


def row_digest(name: BlobName, size: int, tag: bytes, key: str | None, content: bytes) -> bytes:
    """
    Digest what never changes of a blob.

    :param content: all of it, or the digests of its payload's chunks.
    """
    head = f"{name.user}/{name.namespace}/{name.blob_id}/{size}/{key or ''}/".encode("ascii")
    return digest_of(b"".join((head, tag, content)))


def check_entry(name: BlobName, entry: Entry, digest: bytes) -> None:
    """
    Hold a row against its digest.

    :raise DamagedError: it is not as it was written.
    """
    content = entry.digests if entry.content is None else entry.content
    is_whole = entry.content is None or len(entry.content) == entry.size
    if not is_whole or row_digest(name, entry.size, entry.tag, entry.key, content) != digest:
        raise DamagedError(f"{name} is damaged in the catalogue")


def payload_row(
    place: int, user: str, namespace: str, blob_id: str, key: str, size: int
) -> PayloadRow:
    """Make of a row what it says of a payload."""
    return PayloadRow((place, blob_id), BlobName(user, namespace, blob_id), key, size)
