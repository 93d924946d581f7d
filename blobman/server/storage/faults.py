"""What the system's errors mean for a store."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from .interface import UnavailableError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""The error numbers of a disk without room."""


def unavailable(error: OSError) -> UnavailableError:
    """Say what an error of the system means; its text names no path."""
    if error.errno in FULL:
        told = UnavailableError("the disk is full")
    elif error.errno in (errno.EMFILE, errno.ENFILE):
        told = UnavailableError("too many files are open", 5)
    else:
        told = UnavailableError(f"the disk can't be read or written: {error.strerror}")
    told.__cause__ = error
    return told


@contextmanager
def told() -> Iterator[None]:
    """
    Raise the system's errors in the block as ours.

    :raise UnavailableError: there was one.
    """
    try:
        yield
    except OSError as error:
        raise unavailable(error) from error
