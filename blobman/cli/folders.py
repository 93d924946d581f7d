"""The user's folders, as the XDG Base Directory Specification and macOS have them."""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path

import click


class NoHomeError(click.UsageError):
    """Nobody knows where the user's folders are."""

    def __init__(self) -> None:
        super().__init__("there is no home folder: set HOME, or give --config DIR and --store DIR")


def home_folder() -> Path:
    """
    Find the user's home: what HOME says, or else the system's list of users.

    :raise NoHomeError: neither names one.
    """
    home = os.environ.get("HOME", "")
    if not os.path.isabs(home):
        try:
            home = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:
            raise NoHomeError from None
    if not os.path.isabs(home):
        raise NoHomeError
    return Path(home)


def configuration_folder() -> Path:
    """
    Name the folder of the configuration.

    :raise NoHomeError: it would be in the user's home, which nobody knows.
    """
    if sys.platform == "darwin":
        return home_folder() / "Library" / "Application Support" / "blobman"
    return (_base("XDG_CONFIG_HOME") or home_folder() / ".config") / "blobman"


def data_folder() -> Path:
    """
    Name the folder of the local store; not for macOS, which has it in that of the configuration.

    :raise NoHomeError: it would be in the user's home, which nobody knows.
    """
    return (_base("XDG_DATA_HOME") or home_folder() / ".local" / "share") / "blobman"


def expand(path: str) -> str:
    """
    Make a path absolute that a user has typed; ``~`` stands for the home.

    :raise NoHomeError: nobody knows that.
    :raise click.UsageError: it begins with ``~`` and the name of nobody.
    """
    first, *rest = path.split("/", 1)
    if first == "~":
        return os.path.abspath(os.path.join(home_folder(), *rest))
    expanded = os.path.expanduser(path)
    if expanded.startswith("~"):
        raise click.UsageError(f"{path!r}: there is no user {first[1:]!r}")
    return os.path.abspath(expanded)


def make_folder(path: Path) -> None:
    """
    Make a folder, and those above it, which only the user can enter. What is there stays as it is.

    :raise OSError: it can't be made.
    """
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(0o700, exist_ok=True)


def _base(variable: str) -> Path | None:
    """Read a variable of the specification, which says to ignore what is empty or relative."""
    value = os.environ.get(variable, "")
    return Path(value) if os.path.isabs(value) else None
