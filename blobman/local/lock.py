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
    :ivar descriptor: the file; what it holds is for :mod:`.acknowledged`.
    """

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def share(self, prepare: Callable[[], None]) -> None:
        """
        Take it.

        :param prepare: called first if nobody else has it; nobody gets it before that is done.
        :raise OSError: it can't be taken.
        """
        if self.try_alone():
            prepare()
        fcntl.flock(self.descriptor, fcntl.LOCK_SH)

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
        while not self.try_alone():
            if not wanted():
                return False
            if time.monotonic() > deadline and self._try(fcntl.LOCK_SH):
                raise StoreError("the store is in use by another process")
            time.sleep(_POLL)
        return True

    def try_alone(self) -> bool:
        """
        Take it, if nobody else has it.

        :return: whether it was taken. If not, it may be lost even if it was shared before.
        """
        return self._try(fcntl.LOCK_EX)

    def _try(self, kind: int) -> bool:
        try:
            fcntl.flock(self.descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        """Let go of it."""
        os.close(self.descriptor)
