"""Asks the user on the terminal, whatever standard input and output are."""

from __future__ import annotations

import getpass
import io
import os
import sys
from contextlib import suppress

import click

from .text import visible

_PATH = "/dev/tty"


def has_terminal() -> bool:
    """Look whether there is anybody to ask."""
    try:
        os.close(os.open(_PATH, os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def ask(question: str) -> str:
    """
    Ask for a line. Blocks.

    :raise OSError: there is no terminal.
    :raise EOFError: the user has ended the input.
    """
    descriptor = os.open(_PATH, os.O_RDWR | os.O_NOCTTY)
    with io.TextIOWrapper(io.FileIO(descriptor, "r+"), errors="replace") as terminal:
        terminal.write(visible(question))
        terminal.flush()
        line = terminal.readline()
    if not line:
        raise EOFError
    return line.strip()


def ask_hidden(question: str) -> str:
    """
    Ask for a line that is not shown. Blocks.

    :raise click.UsageError: what was typed is no text.
    :raise EOFError: the user has ended the input.
    """
    try:
        return getpass.getpass(question)
    except UnicodeDecodeError:
        # It holds what was typed.
        raise click.UsageError("what was typed is no text in the terminal's encoding") from None


def tell(line: str) -> None:
    """Say something on standard error. If nobody can hear it, that is no reason to stop."""
    with suppress(OSError):
        click.echo(visible(line), err=True)


def leave_echo() -> None:
    """Begin a line, if what the terminal shows for Ctrl-C is on the present one."""
    with suppress(OSError):
        if sys.stderr.isatty():
            click.echo(err=True)
