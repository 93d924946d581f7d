"""What ``blobman init`` has to know, from the command line or from the user."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

import click

from .failures import describe_error
from .folders import expand
from .options import BY_NAME, is_on
from .secretfiles import RANDOM_BYTES, is_token, read_token
from .sizes import read_rate
from .terminal import ask, ask_hidden, has_terminal, tell

NO_SERVER = "none"
"""What is given instead of a server's address."""


@dataclass(frozen=True)
class Answers:
    """
    What the user wants.

    :ivar values: settings by name, but for the token and the authorities.
    :ivar token: None if there was none.
    :ivar authorities: the content of a PEM file; None if there was none.
    :ivar ca: where that file is.
    """

    values: Mapping[str, str]
    token: str | None = field(default=None, repr=False)
    authorities: bytes | None = None
    ca: str | None = None


def check_settings(given: Mapping[str, str], remark: Callable[[str], object] = tell) -> Answers:
    """
    Take settings as they were given.

    :param given: settings by name.
    :param remark: is told if others can read the file of the token, too.
    :raise click.UsageError: one is wrong, or names a file that can't be used.
    """
    values = {name: _from_anywhere(name, value) for name, value in given.items()}
    _check(values)
    kept = {name: it for name, it in values.items() if name not in ("token_file", "ca")}
    token = read_token(values["token_file"], remark) if "token_file" in values else None
    authorities = Path(values["ca"]).read_bytes() if "ca" in values else None
    return Answers(kept, token, authorities, values.get("ca"))


def ask_for_settings(given: Mapping[str, str], default_store: str) -> Answers:
    """
    Take settings as they were given, and ask for what is missing.

    If that is something without which it can't go on, what is optional is asked for, too.

    :param given: settings by name.
    :raise click.UsageError: one is wrong; or is missing, and there is no terminal.
    """
    # They are looked at once more, and remarked on, at the end.
    check_settings(given, lambda _: None)
    questions = _Questions({name: _from_anywhere(name, it) for name, it in given.items()})
    values = questions.values
    questions.need_server()
    questions.need("user", "Your user name")
    token = None
    if values["remote"] != NO_SERVER and "token_file" not in values:
        token = questions.need_token()
    if values["remote"].startswith("https:"):
        questions.offer("ca", "PEM file of the only authorities to trust [the system's]", None)
    questions.offer("store", f"Folder of the local store [{default_store}]", default_store)
    answers = check_settings(values)
    return replace(answers, token=token or answers.token)


class _Questions:
    """
    Asks for settings.

    :ivar values: those that are known by now.
    """

    def __init__(self, values: dict[str, str]) -> None:
        self.values = values
        self._has_asked = False

    def need(self, name: str, question: str) -> None:
        """
        Ask for a setting, unless it is known.

        :raise click.UsageError: there is no terminal.
        """
        while name not in self.values:
            self._begin(name)
            self._take(name, ask(f"{question}: "))

    def need_token(self) -> str:
        """
        Ask for the token itself.

        :raise click.UsageError: there is no terminal.
        """
        self._begin("token_file")
        while True:
            token = ask_hidden("The token that the server knows you by (not shown): ").strip()
            if os.path.exists(os.path.expanduser(token)):
                tell("That is a file. Type what it holds, or start again with --token-file.")
            elif is_token(token):
                return token
            else:
                tell("That is no token.")

    def offer(self, name: str, question: str, default: str | None) -> None:
        """Ask for a setting, if this is the time for questions; an empty answer is the default."""
        while self._has_asked and name not in self.values:
            answer = ask(f"{question}: ")
            if not answer:
                break
            self._take(name, answer)
        if default is not None:
            self.values.setdefault(name, default)

    def _begin(self, name: str) -> None:
        if not has_terminal():
            setting = BY_NAME[name]
            raise click.UsageError(
                f"there is no terminal to ask on: give {setting.flag}, or set {setting.variable}"
            )
        self._has_asked = True

    def need_server(self) -> None:
        """
        Ask for the server, and for its path: hardly any has its blobs at the top.

        :raise click.UsageError: there is no terminal.
        """
        while "remote" not in self.values:
            self.need("remote", f"Server, such as https://host/blobs/, or {NO_SERVER}")
            remote = self.values["remote"]
            if remote != NO_SERVER and not urlsplit(remote).path.strip("/"):
                del self.values["remote"]
                tell(f"That is the whole server. Its blobs are at {remote.rstrip('/')}/blobs/")

    def _take(self, name: str, answer: str) -> None:
        try:
            values = {**self.values, name: _from_anywhere(name, answer)}
            _check(values)
        except click.UsageError as error:
            tell(describe_error(error))
        else:
            self.values.update(values)


def _from_anywhere(name: str, value: str) -> str:
    """Make a path absolute: the settings are going to be used in other folders."""
    return expand(value) if BY_NAME[name].is_path else value


def _check(values: Mapping[str, str]) -> None:
    """
    Check what is known so far.

    :raise click.UsageError: something is wrong.
    """
    from twisted.internet import reactor

    from blobman import BlobManager

    store = values.get("store")
    if store is not None and os.path.lexists(store) and not os.path.isdir(store):
        raise click.UsageError(f"store {store!r} is not a folder")
    remote = values.get("remote", NO_SERVER)
    try:
        # It refuses what is wrong, and neither reads nor connects yet.
        BlobManager(
            None,
            None if remote == NO_SERVER else remote,
            None,
            secrets.token_bytes(RANDOM_BYTES),
            values.get("user", "anybody"),
            None,
            values.get("ca"),
            values.get("remote_stream"),
            reactor=reactor,
            limit_rate=read_rate(values.get("limit_rate", "none")),
            allow_insecure=is_on(values.get("insecure")),
        )
    except OSError as error:
        raise click.UsageError(f"{error.filename}: {error.strerror}") from error
    except ValueError as error:
        raise click.UsageError(str(error)) from error
