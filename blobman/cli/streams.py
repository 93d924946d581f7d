"""Standard streams: those that were closed when the command began, and those that fail."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import click

_NAMES = ("stdin", "stdout", "stderr")


class _Closed(io.TextIOWrapper):
    """Stands in for a stream that nobody is at the other end of."""


def replace_closed() -> None:
    """
    Put the null device in the place of closed streams, so that a command can do its work.

    Their numbers are taken, too: else the next file to be opened, such as the database, would get
    one of them, and whatever a library writes to standard error.
    """
    for name in _NAMES:
        if getattr(sys, name) is None:
            mode = "rb" if name == "stdin" else "wb"
            null = open(os.open(os.devnull, os.O_RDWR), mode, closefd=False)  # noqa: SIM115
            setattr(sys, name, _Closed(null, write_through=True))


class OutputError(click.ClickException):
    """Standard output can't be written: what would follow would not be seen either."""


@contextmanager
def writing_output() -> Iterator[None]:
    """
    Write to standard output inside.

    :raise BrokenPipeError: whoever reads has had enough.
    :raise OutputError: it can't be written for another reason.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"standard output: {error.strerror or error}") from error


def need_output(what: str, instead: str = "") -> None:
    """
    Refuse to go on if what is to be shown would be lost.

    :param what: names it for the message.
    :param instead: what to do about it.
    :raise click.UsageError: standard output is closed.
    """
    if is_closed(sys.stdout):
        raise click.UsageError(f"standard output is closed, where {what} would go{instead}")


def is_closed(stream: TextIO) -> bool:
    """Whether a standard stream was closed: nothing that is written to it gets anywhere."""
    return isinstance(stream, _Closed)
