"""What was stored a moment ago, and is about to be uploaded: it need not be read again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..model import BlobKey
from .payload_rows import Payload

__all__ = ["Recent", "RecentPayloads"]


OVERHEAD = 1024
"""Bytes that each takes besides its content and its preamble, more or less."""


class Recent(NamedTuple):
    """A payload, with its number, by which the store can tell whether it still is the blob's."""

    number: int
    payload: Payload


class RecentPayloads:
    """
    Small payloads on their way through memory. Each is taken once.

    :param limit: bytes; what does not fit beside the others is not kept.
    :param largest: bytes of the largest content that is kept.
    """

    def __init__(self, limit: int, largest: int) -> None:
        self._limit = limit
        self._largest = largest
        self._size = 0
        self._kept: dict[BlobKey, Recent] = {}

    def keep(self, key: BlobKey, recent: Recent) -> None:
        """Keep a payload, if there is room."""
        self.take([key])
        size = _size(recent)
        if recent.payload.size <= self._largest and self._size + size <= self._limit:
            self._size += size
            self._kept[key] = recent

    def take(self, keys: Iterable[BlobKey]) -> dict[BlobKey, Recent]:
        """Take those that are kept."""
        taken = {key: self._kept.pop(key) for key in keys if key in self._kept}
        self._size -= sum(map(_size, taken.values()))
        return taken


def _size(recent: Recent) -> int:
    return recent.payload.size + len(recent.payload.preamble) + OVERHEAD
