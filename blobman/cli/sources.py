"""Where ``put`` takes content from: files, folders, standard input and other pipes."""

from __future__ import annotations

import os
import select
import stat
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, cast

from twisted.internet.defer import CancelledError

from .waiting import in_thread

STDIN = "-"

CHUNK = 256 * 1024

PATIENCE = 0.2
"""Seconds between two looks whether to stop, while a pipe has nothing."""


def find_files(
    paths: Iterable[str],
    on_error: Callable[[str, OSError], object],
    is_skipped: Callable[[str], bool] = lambda path: False,
) -> Iterator[str]:
    """
    Find the files that are meant, folder by folder, when they are asked for.

    :param paths: files, folders (for all files in them and below), or ``-``.
    :param on_error: told of folders that can't be read.
    :param is_skipped: asked for each file in a folder.
    """
    for path in paths:
        if path != STDIN and os.path.isdir(path):
            found = _find_in_folder(path, on_error)
            yield from (file for file in found if not is_skipped(file))
        else:
            yield path


def _find_in_folder(folder: str, on_error: Callable[[str, OSError], object]) -> Iterator[str]:
    def failed(error: OSError) -> None:
        on_error(os.fsdecode(error.filename), error)

    for place, folders, names in os.walk(folder, onerror=failed):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(place, name)
            # A link that leads nowhere is for the user to know; opening it will tell.
            if os.path.isfile(path) or not os.path.exists(path):
                yield path


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
