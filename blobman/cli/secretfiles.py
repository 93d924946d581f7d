"""Files that hold a key, a secret, a token or a passphrase."""

from __future__ import annotations

import codecs
import errno
import os
import secrets
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

import click

from blobman import disk

from .terminal import tell

RANDOM_BYTES = 96
"""
How much randomness a new key or secret has. It is written as 128 letters: a secret has to have
more than 64, of which only those after the 64th count.
"""

MAX_SIZE = 64 * 1024
"""Bytes; a larger file is a mistake."""

_READABLE_BY_OTHERS = stat.S_IRGRP | stat.S_IROTH

_BLANKS = " \t\r\n"

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def read_secret(what: str, path: str, remark: Callable[[str], object] = tell) -> bytes:
    """
    Read a key, a secret, a token or a passphrase.

    Text is taken as it was meant, whatever an editor has made of it: see ``normalize``.

    :param what: names it for the message, such as ``key``.
    :param remark: is told if others can read the file, too.
    :raise click.UsageError: the file can't be read, or is empty or too large.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_SIZE + 1)
            found = os.fstat(file.fileno())
    except FileNotFoundError as error:
        hint = f"; blobman keygen {path} makes one" if what in ("key", "secret") else ""
        raise click.UsageError(f"there is no {what} file {path!r}{hint}") from error
    except OSError as error:
        raise click.UsageError(f"{what} file {path!r}: {error.strerror}") from error
    if len(content) > MAX_SIZE:
        raise click.UsageError(f"{what} file {path!r} is too large: over {MAX_SIZE} bytes")
    content = normalize(content)
    if not content:
        raise click.UsageError(f"{what} file {path!r} is empty")
    if stat.S_ISREG(found.st_mode) and found.st_mode & _READABLE_BY_OTHERS:
        remark(f"{what} file {path!r} can be read by others: chmod 600 makes it yours alone")
    return content


def read_token(path: str, remark: Callable[[str], object] = tell) -> str:
    """
    Read a token.

    :param remark: is told if others can read the file, too.
    :raise click.UsageError: as ``read_secret``, or it is not one word of ASCII.
    """
    try:
        token = read_secret("token", path, remark).decode("ascii")
    except UnicodeDecodeError:
        token = ""
    if not is_token(token):
        # Without a cause, which would show the token.
        raise click.UsageError(f"token file {path!r} does not hold a token")
    return token


def is_token(text: str) -> bool:
    """Whether it can be a token: one word of ASCII."""
    return bool(text) and text.isascii() and text.isprintable() and " " not in text


def normalize(content: bytes) -> bytes:
    """
    Give the secret that a file holds.

    What is text loses its byte order mark and the blanks and newlines at its end, and becomes
    UTF-8. In text of several lines, which some tools make of a secret, a line ends with a newline,
    and so does the last one if it did. Anything else is taken as it is, to the last byte.
    """
    text = read_text(content)
    if text is None:
        return content
    line = text.rstrip(_BLANKS)
    return (line if line.isprintable() else text.replace("\r\n", "\n")).encode("utf-8")


def read_text(content: bytes) -> str | None:
    """Decode text, without its byte order mark; None if it is none."""
    encoding = next((it for mark, it in _MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        return None
    is_text = all(it.isprintable() or it in _BLANKS for it in text)
    return text if is_text else None


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
    with disk.finishing(descriptor, path):
        disk.write_all(descriptor, f"{content}\n".encode("ascii"))


def replace_file(path: Path, content: str | bytes) -> None:
    """
    Make a file hold just this, at once and durably; only its owner can read it.

    :raise OSError: it can't be written; nothing has changed.
    """
    target = os.path.realpath(path)
    data = content.encode("utf-8") if isinstance(content, str) else content
    descriptor, temporary = tempfile.mkstemp(".part", ".blobman-", os.path.dirname(target))
    with disk.finishing(descriptor, temporary):
        disk.write_all(descriptor, data)
    disk.put_in_place(temporary, target)


def new_secret() -> str:
    """Make a key or a secret: 128 letters, digits, ``-`` and ``_``."""
    return secrets.token_urlsafe(RANDOM_BYTES)
