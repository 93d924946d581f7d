"""Who has the store open: a lock on a file beside the database, held until the end."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

from ..errors import StoreError

__all__ = ["StoreLock"]


_POLL = 0.05
"""How many seconds pass between two tries to take it alone."""


class StoreLock:
    """
    A lock that is shared by all that use a store, in this process and in others.

    The operating system drops it when the process ends, however it ends.

    :param path: the lock's file; it is made, and stays.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def share(self, clean: Callable[[], None]) -> None:
        """
        Take it.

        :param clean: called first if nobody else has it; nobody gets it before that is done.
        :raise OSError: it can't be taken.
        """
        if self._try(fcntl.LOCK_EX):
            clean()
        fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    def exclude(self, patience: float, wanted: Callable[[], bool]) -> bool:
        """
        Take it, so that nobody else has it.

        :param patience: how many seconds to wait for those that share it. As long as somebody
            else has it alone, there is no limit.
        :param wanted: asked while it waits; false ends that.
        :return: whether it was taken.
        :raise StoreError: others share it.
        """
        deadline = time.monotonic() + patience
        while not self._try(fcntl.LOCK_EX):
            if not wanted():
                return False
            if time.monotonic() > deadline and self._try(fcntl.LOCK_SH):
                raise StoreError("the store is in use by another process")
            time.sleep(_POLL)
        return True

    def _try(self, kind: int) -> bool:
        try:
            fcntl.flock(self._descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        """Let go of it."""
        os.close(self._descriptor)
