"""Making keys again that are here already, damaged, or not here yet."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from .configuration import Configuration
from .keysfile import KeysFile
from .secretfiles import normalize, read_secret
from .seeds import RecoveryCodeError, check_value, read_code
from .terminal import ask, tell

_MAX_CODE = 1000
"""Bytes to read of standard input; a code has fewer than 100."""


def read_old_keys(configuration: Configuration) -> KeysFile | None:
    """Read the keys that are to be made again; None if there are none, or they can't be read."""
    try:
        return configuration.read_keys()
    except click.UsageError:
        return None


def put_keys_aside(configuration: Configuration) -> None:
    """Rename a file of keys that can't be read, if there is one."""
    # Where a link leads, new ones are going to be written, too.
    damaged = Path(os.path.realpath(configuration.keys_file))
    aside = damaged.with_suffix(".damaged")
    try:
        os.replace(damaged, aside)
    except FileNotFoundError:
        return
    tell(f"The file of the keys could not be read. It is now {aside}")


def get_seed(path: str | None, old: KeysFile | None) -> bytes:
    """
    Read the recovery code, or ask for it, and give its seed.

    :param path: the file that holds it; None for standard input, or the terminal.
    :param old: the keys that it should be the code of, if that is known.
    :raise click.UsageError: it is wrong.
    """
    if path is not None:
        return _check(read_secret("recovery code", path), old)
    if not sys.stdin.isatty():
        return _check(normalize(sys.stdin.buffer.read(_MAX_CODE)), old)
    while True:
        try:
            return _check(ask("Recovery code: ").encode(), old)
        except click.UsageError as error:  # noqa: PERF203
            tell(f"{error.message[0].upper()}{error.message[1:]}. Once more:")


def _check(code: bytes, old: KeysFile | None) -> bytes:
    try:
        seed = read_code(code.decode("utf-8", "replace"))
    except RecoveryCodeError as error:
        raise click.UsageError(str(error)) from None
    if old is not None and check_value(seed) != old.check:
        raise click.UsageError("this is the recovery code of other keys than those that are here")
    return seed
