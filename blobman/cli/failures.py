"""What an error looks like to a user: one line, and an exit code."""

from __future__ import annotations

import os
import signal
from typing import NamedTuple

import click

from blobman import (
    BlobAlreadyExistsError,
    BlobError,
    BlobNotFoundError,
    CertificateError,
    InvalidBlob,
    MaximumRetriesError,
    QuotaExceededError,
    RetriableTransferError,
    StoreError,
    UnauthorizedError,
    WrongKeyError,
)

from .keysfile import WrongPassphraseError
from .text import visible


class ExitCode(NamedTuple):
    """A row of the table of exit codes."""

    code: int
    errors: tuple[type[BaseException], ...]
    meaning: str


# The first row that fits counts: the special ones come before the general ones.
EXIT_CODES: tuple[ExitCode, ...] = (
    ExitCode(2, (click.UsageError,), "the command line, or a setting, is wrong"),
    ExitCode(3, (BlobNotFoundError,), "there is no such blob"),
    ExitCode(4, (BlobAlreadyExistsError, FileExistsError), "the blob, or the file, exists"),
    ExitCode(5, (UnauthorizedError, CertificateError), "the server, or its certificate, refused"),
    ExitCode(6, (RetriableTransferError,), "the server can't be reached, or asks to come later"),
    ExitCode(7, (InvalidBlob, MaximumRetriesError), "a blob does not verify"),
    ExitCode(8, (QuotaExceededError,), "the space on the server is used up"),
    ExitCode(9, (WrongKeyError, WrongPassphraseError), "the key, or the passphrase, is wrong"),
    ExitCode(10, (StoreError,), "the local store is locked, full or damaged"),
    ExitCode(1, (Exception,), "it failed for another reason"),
)
"""0 means that all went well, 128 + n that signal n (2 for Ctrl-C) ended it."""

DEBUG_VARIABLE = "BLOBMAN_DEBUG"
"""The environment variable that shows the log, and tracebacks of errors, if it is not empty."""


def is_debugging() -> bool:
    """Look whether the user wants to see everything."""
    return bool(os.environ.get(DEBUG_VARIABLE))


class Interrupted(Exception):
    """
    A signal ended the command.

    :ivar signal_number: which one.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(signal_number).name}")
        self.signal_number = signal_number


def exit_code(error: BaseException) -> int:
    """Give the exit code of an error."""
    if isinstance(error, Interrupted):
        return 128 + error.signal_number
    if isinstance(error, click.Abort):
        return 128 + signal.SIGINT
    return next((row.code for row in EXIT_CODES if isinstance(error, row.errors)), 1)


def describe_error(error: BaseException) -> str:
    """Put an error into one line."""
    if isinstance(error, click.Abort):
        return "interrupted"
    if isinstance(error, click.UsageError):
        return _one_line(error.format_message()) + _hint(error)
    if isinstance(error, click.ClickException):
        return _one_line(error.format_message())
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{visible(os.fsdecode(error.filename))}: {_one_line(error.strerror)}"
    text = _one_line(str(error)) or type(error).__name__
    if isinstance(error, ValueError) and text.startswith("blob_id must be"):
        text += "; blobman ls shows ids, names of files are not kept"
    if _is_expected(error):
        return text
    return f"unexpected {type(error).__name__}: {text} (BLOBMAN_DEBUG=1 shows where)"


def _is_expected(error: BaseException) -> bool:
    """Whether it comes of what the user, the system or the server did, and not of a mistake."""
    from twisted.internet.defer import CancelledError
    from twisted.internet.error import CannotListenError

    expected = (BlobError, OSError, TypeError, ValueError, WrongPassphraseError, Interrupted)
    return isinstance(error, (*expected, CancelledError, CannotListenError))


def _hint(error: click.UsageError) -> str:
    return f" (see {error.ctx.command_path} --help)" if error.ctx is not None else ""


def _one_line(text: str) -> str:
    return " ".join(text.split())
