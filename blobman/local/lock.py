"""Who has the store open: a lock on a file beside the database, held until the end."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

__all__ = ["StoreLock"]


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
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            clean()
        fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    def release(self) -> None:
        """Let go of it."""
        os.close(self._descriptor)
