"""What was stored a moment ago, and is about to be uploaded: it need not be read again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..model import BlobKey
from .records import Payload

__all__ = ["Recent", "RecentPayloads"]


class Recent(NamedTuple):
    """A payload, with its number, by which the store can tell whether it still is the blob's."""

    number: int
    payload: Payload


class RecentPayloads:
    """
    Small payloads on their way through memory. Each is taken once.

    :param limit: bytes; what does not fit beside the others is not kept.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._kept: dict[BlobKey, Recent] = {}

    def keep(self, key: BlobKey, recent: Recent) -> None:
        """Keep a payload, if there is room."""
        self.take([key])
        if self._size + recent.payload.size <= self._limit:
            self._size += recent.payload.size
            self._kept[key] = recent

    def take(self, keys: Iterable[BlobKey]) -> dict[BlobKey, Recent]:
        """Take those that are kept."""
        taken = {key: self._kept.pop(key) for key in keys if key in self._kept}
        self._size -= sum(recent.payload.size for recent in taken.values())
        return taken
