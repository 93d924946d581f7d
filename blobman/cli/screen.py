"""What a command shows: results for standard output, remarks and failures for standard error."""

from __future__ import annotations

import json
import os
import shutil
import sys
from contextlib import suppress
from datetime import datetime

import click

from .failures import describe_error, exit_code
from .streams import writing_output
from .tally import Tally
from .terminal import tell
from .text import visible

_ERASE_REST = "\x1b[K"


class Screen:
    """
    Shows what a command does.

    :ivar code: the exit code of the first failure that was shown; 0 if there was none.
    :ivar tally: what the transfers add up to, where it is shown; a command tells it what to expect.
    """

    def __init__(self, as_json: bool = False, quiet: bool = False) -> None:
        """
        Show nothing yet.

        :param as_json: results and failures as JSON, one object in a line.
        :param quiet: no remarks.
        """
        self.as_json = as_json
        self.quiet = quiet
        self.code = 0
        self.tally = Tally()
        self._drawn = ""
        self._has_times = False

    def show_times(self) -> None:
        """Say with everything from now on when it was."""
        self._has_times = True

    @property
    def has_terminal(self) -> bool:
        """Whether standard error is a terminal that can draw over a line."""
        return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    @property
    def columns(self) -> int:
        """How wide the terminal is at the moment."""
        return shutil.get_terminal_size().columns

    def draw(self, line: str) -> None:
        """Draw a line over the one that was drawn before; nothing, if it is empty."""
        if line != self._drawn:
            with suppress(OSError):
                click.echo(f"\r{visible(line)}{_ERASE_REST}", err=True, nl=False)
                self._drawn = line

    def result(self, text: str, **fields: object) -> None:
        """
        Show a result.

        :param text: for people.
        :param fields: the same for programs.
        """
        self._write(self._as_json(fields) if self.as_json else text)

    def event(self, name: str, **fields: object) -> None:
        """Tell a program what goes on."""
        self._write(self._as_json({"event": name, **fields}))

    def remark(self, text: str) -> None:
        """Show what only people care for."""
        if not self.quiet and not self.as_json:
            self._write(text, err=True)

    def warning(self, text: str) -> None:
        """Show what is to be put right, though it keeps nothing from being done."""
        if not self.quiet:
            self._write(f"blobman: {text}", err=True)

    def failure(self, subject: str, error: Exception, remark: str = "") -> None:
        """
        Show that one of many things failed, and go on.

        :param subject: which one.
        :param remark: what to do about it.
        """
        self.code = self.code or exit_code(error)
        text = describe_error(error)
        if visible(subject) not in visible(text):
            text = f"{subject}: {text}"
        self._write(f"blobman: {text}" + (f" ({remark})" if remark else ""), err=True)
        if self.as_json:
            failure = {"failed": subject, "error": text, "code": exit_code(error)}
            self._write(self._as_json(failure))

    def _as_json(self, fields: dict[str, object]) -> str:
        if self._has_times:
            fields = {**fields, "time": datetime.now().astimezone().isoformat(timespec="seconds")}
        return json.dumps(fields)

    def _write(self, text: str, err: bool = False) -> None:
        self.draw("")
        if err:
            tell(f"{datetime.now():%Y-%m-%d %H:%M:%S} {text}" if self._has_times else text)
        else:
            with writing_output():
                click.echo(visible(text))
