"""Locks under which the files of a name change."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from .storage import BlobName

_LOCKS = 256


class NameLocks:
    """A lock for each name; some names share one."""

    def __init__(self) -> None:
        self._locks = [threading.Lock() for _ in range(_LOCKS)]

    def one(self, name: BlobName) -> threading.Lock:
        """Give the lock of a name."""
        return self._locks[hash(name) % _LOCKS]

    @contextmanager
    def all(self, names: Iterable[BlobName]) -> Iterator[None]:
        """Hold the locks of many names."""
        with ExitStack() as locked:
            # Always in the same order: no two can wait for each other.
            for number in sorted({hash(name) % _LOCKS for name in names}):
                locked.enter_context(self._locks[number])
            yield
