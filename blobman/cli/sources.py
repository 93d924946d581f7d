"""Where ``put`` takes content from: files, folders, standard input and other pipes."""

from __future__ import annotations

import errno
import os
import select
import stat
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import Any, BinaryIO, cast

from twisted.internet.defer import CancelledError

from .streams import is_closed
from .waiting import in_thread

STDIN = "-"

CHUNK = 256 * 1024


class LeftOut(Enum):
    """Why something in a folder is left out."""

    OWN = "blobman itself needs them"
    LINK = "links to folders are not followed"
    SPECIAL = "they are neither files nor folders"


PATIENCE = 0.2
"""Seconds between two looks whether to stop, while a pipe has nothing."""


def find_files(
    paths: Iterable[str],
    on_error: Callable[[str, OSError], object],
    on_left_out: Callable[[str, LeftOut], object] = lambda path, why: None,
    is_own: Callable[[str], bool] = lambda path: False,
) -> Iterator[str]:
    """
    Find the files that are meant, folder by folder, when they are asked for.

    :param paths: files, folders (for all files in them and below), or ``-``.
    :param on_error: told of folders that can't be read.
    :param on_left_out: told what in a folder is left out, and why.
    :param is_own: asked of each file and folder in a folder whether blobman itself needs it.
    """

    def failed(error: OSError) -> None:
        on_error(os.fsdecode(error.filename), error)

    for path in paths:
        if path == STDIN or not os.path.isdir(path):
            yield path
            continue
        for place, folders, names in os.walk(path, onerror=failed):
            inside = [os.path.join(place, name) for name in sorted(folders)]
            reasons = {it: _why_folder(it, is_own) for it in inside}
            folders[:] = [os.path.basename(it) for it, why in reasons.items() if why is None]
            files = [os.path.join(place, name) for name in sorted(names)]
            reasons.update({it: _why_file(it, is_own) for it in files})
            for it, why in reasons.items():
                if why is not None:
                    on_left_out(it, why)
            yield from (it for it in files if reasons[it] is None)


def _why_folder(path: str, is_own: Callable[[str], bool]) -> LeftOut | None:
    if os.path.islink(path):
        return LeftOut.LINK
    return LeftOut.OWN if is_own(path) else None


def _why_file(path: str, is_own: Callable[[str], bool]) -> LeftOut | None:
    # A link that leads nowhere is for the user to know; opening it will tell.
    if os.path.exists(path) and not os.path.isfile(path):
        return LeftOut.SPECIAL
    return LeftOut.OWN if is_own(path) else None


def file_size(path: str) -> int:
    """Give the size of a file in bytes; 0 for what is none, or can't be read."""
    try:
        found = os.stat(path)
    except OSError:
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


async def open_source(reactor: Any, path: str) -> BinaryIO:
    """
    Open a seekable file. What comes through a pipe is copied to a file without a name first.

    :raise OSError: it can't be read.
    """
    if path == STDIN:
        if is_closed(sys.stdin):
            raise OSError(errno.EBADF, "standard input is closed", STDIN)
        return await _spool(reactor, sys.stdin.fileno())
    if stat.S_ISREG(os.stat(path).st_mode) or os.path.isdir(path):
        return open(path, "rb")
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return await _spool(reactor, descriptor)
    finally:
        os.close(descriptor)


async def _spool(reactor: Any, descriptor: int) -> BinaryIO:
    spooled = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115
    try:
        await in_thread(reactor, lambda stop: _copy(descriptor, spooled, stop))
    except BaseException:
        spooled.close()
        raise
    return spooled


def _copy(descriptor: int, target: BinaryIO, stop: threading.Event) -> None:
    while True:
        if stop.is_set():
            raise CancelledError
        if select.select([descriptor], [], [], PATIENCE)[0]:
            data = os.read(descriptor, CHUNK)
            if not data:
                target.flush()
                return
            target.write(data)
