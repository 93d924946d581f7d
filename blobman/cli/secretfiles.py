"""Files that hold a key, a secret or a token."""

from __future__ import annotations

import errno
import os
import secrets
import tempfile
from pathlib import Path

import click

from blobman.server.disk import sync_folder

RANDOM_BYTES = 96
"""
How much randomness a new key or secret has. It is written as 128 letters: a secret has to have
more than 64, of which only those after the 64th count.
"""

MAX_SIZE = 64 * 1024
"""Bytes; a larger file is a mistake."""


def read_secret(what: str, path: str) -> bytes:
    """
    Read a key, a secret or a token.

    A newline that ends a line of text does not belong to it.

    :param what: names it for the message, such as ``key``.
    :raise click.UsageError: the file can't be read, or is empty or too large.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_SIZE + 1)
    except FileNotFoundError as error:
        hint = f"; blobman keygen {path} makes one" if what in ("key", "secret") else ""
        raise click.UsageError(f"there is no {what} file {path!r}{hint}") from error
    except OSError as error:
        raise click.UsageError(f"{what} file {path!r}: {error.strerror}") from error
    if len(content) > MAX_SIZE:
        raise click.UsageError(f"{what} file {path!r} is too large: over {MAX_SIZE} bytes")
    content = _without_newline(content)
    if not content:
        raise click.UsageError(f"{what} file {path!r} is empty")
    return content


def read_token(path: str) -> str:
    """
    Read a token.

    :raise click.UsageError: as ``read_secret``, or it is not ASCII.
    """
    try:
        return read_secret("token", path).decode("ascii")
    except UnicodeDecodeError:
        # Its message would show the token.
        raise click.UsageError(f"token file {path!r} does not hold a token") from None


def write_secret(path: str, content: str) -> None:
    """
    Write a new file, which only its owner can read, with one line.

    :raise FileExistsError: there is one.
    :raise OSError: it can't be written; none is left.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise FileExistsError(errno.EEXIST, "it exists, and is not overwritten", path) from error
    try:
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(content + "\n")
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        os.unlink(path)
        raise


def replace_file(path: Path, content: str | bytes) -> None:
    """
    Make a file hold just this, at once and durably; only its owner can read it.

    :raise OSError: it can't be written; nothing has changed.
    """
    path = Path(os.path.realpath(path))
    data = content.encode("utf-8") if isinstance(content, str) else content
    descriptor, temporary = tempfile.mkstemp(".part", ".blobman-", path.parent)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    sync_folder(str(path.parent))


def new_secret() -> str:
    """Make a key or a secret: 128 letters, digits, ``-`` and ``_``."""
    return secrets.token_urlsafe(RANDOM_BYTES)


def _without_newline(content: bytes) -> bytes:
    """Raw random bytes can end with a newline by chance; that one stays."""
    try:
        is_text = content.decode("utf-8").rstrip("\r\n").isprintable()
    except UnicodeDecodeError:
        is_text = False
    return content.removesuffix(b"\n") if is_text else content
