"""What a command shows: results for standard output, remarks and failures for standard error."""

from __future__ import annotations

import json

import click

from .failures import describe_error, exit_code


class Screen:
    """
    Shows what a command does.

    :ivar code: the exit code of the first failure that was shown; 0 if there was none.
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

    def result(self, text: str, **fields: object) -> None:
        """
        Show a result.

        :param text: for people.
        :param fields: the same for programs.
        """
        click.echo(json.dumps(fields) if self.as_json else text)

    def remark(self, text: str) -> None:
        """Show what only people care for."""
        if not self.quiet and not self.as_json:
            click.echo(text, err=True)

    def failure(self, subject: str, error: Exception, remark: str = "") -> None:
        """
        Show that one of many things failed, and go on.

        :param subject: which one.
        :param remark: what to do about it.
        """
        self.code = self.code or exit_code(error)
        text = describe_error(error)
        if subject not in text:
            text = f"{subject}: {text}"
        click.echo(f"blobman: {text}" + (f" ({remark})" if remark else ""), err=True)
        if self.as_json:
            click.echo(json.dumps({"failed": subject, "error": text, "code": exit_code(error)}))
