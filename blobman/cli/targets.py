"""Where ``get`` puts content: a new file, whole or not at all, or standard output."""

from __future__ import annotations

import codecs
import errno
import os
import re
import select
import stat
import tempfile
import threading
from collections.abc import Iterator
from typing import BinaryIO

from twisted.internet.defer import CancelledError

CHUNK = 256 * 1024

PIPE_CHUNK = 4096
"""What a pipe that has room takes without blocking (``PIPE_BUF``)."""

PATIENCE = 0.2
"""Seconds between two looks whether to stop, while a pipe is full."""

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]")


def check_target(path: str, overwrite: bool) -> None:
    """
    Look whether a file can be made there, before its content is fetched.

    :raise OSError: it can't; ``FileExistsError`` if there is one and ``overwrite`` is not set.
    """
    folder = os.path.dirname(path) or "."
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not os.path.isdir(folder):
        raise NotADirectoryError(errno.ENOENT, "no such folder", folder)
    if os.path.lexists(path) and not (overwrite or _is_special(path)):
        raise FileExistsError(errno.EEXIST, "it exists; --force overwrites it", path)


def is_text(content: BinaryIO, stop: threading.Event) -> bool:
    """
    Look whether content is what a terminal can show, to its end. It is at its start again. Blocks.

    :raise CancelledError: ``stop`` was set.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for data in _chunks(content, stop):
            if _UNPRINTABLE.search(decoder.decode(data)):
                return False
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    finally:
        content.seek(0)
    return True


def write_file(content: BinaryIO, path: str, overwrite: bool, stop: threading.Event) -> None:
    """
    Write a file: under another name beside it, which is then replaced. Blocks.

    Only its owner can read it: what it holds was encrypted until now.

    :raise FileExistsError: there is one, and ``overwrite`` is not set.
    :raise OSError: it can't be written. None is left.
    :raise CancelledError: ``stop`` was set. None is left.
    """
    if _is_special(path):
        with open(path, "wb") as file:
            _copy(content, file, stop)
        return
    descriptor, temporary = tempfile.mkstemp(".part", ".blobman-", os.path.dirname(path) or ".")
    try:
        with open(descriptor, "wb") as file:
            _copy(content, file, stop)
            file.flush()
            os.fsync(file.fileno())
        if not overwrite:
            _claim(path)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def write_pipe(content: BinaryIO, descriptor: int, stop: threading.Event) -> None:
    """
    Write to what is open already. Blocks, but not when it is to stop.

    :raise OSError: it can't be written; ``BrokenPipeError`` when nobody reads.
    :raise CancelledError: ``stop`` was set.
    """
    for data in _chunks(content, stop):
        rest = memoryview(data)
        while rest:
            if select.select([], [descriptor], [], PATIENCE)[1]:
                rest = rest[os.write(descriptor, rest[:PIPE_CHUNK]) :]
            elif stop.is_set():
                raise CancelledError


def _chunks(content: BinaryIO, stop: threading.Event) -> Iterator[bytes]:
    while data := content.read(CHUNK):
        if stop.is_set():
            raise CancelledError
        yield data


def _copy(content: BinaryIO, file: BinaryIO, stop: threading.Event) -> None:
    for data in _chunks(content, stop):
        file.write(data)


def _claim(path: str) -> None:
    """Take the name, so that nobody else does between now and the replacement."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError as error:
        raise FileExistsError(errno.EEXIST, "it exists; --force overwrites it", path) from error


def _is_special(path: str) -> bool:
    """Whether it is a device or a pipe, which is written to and not replaced."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
