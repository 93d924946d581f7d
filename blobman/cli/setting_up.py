"""Writing down what ``init`` has found out, and making the keys."""

from __future__ import annotations

import contextlib
import secrets
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import click

from .configuration import Configuration
from .folders import make_folder
from .keysfile import KeysFile
from .locks import Lock, forget_passphrase
from .questions import NO_SERVER, Answers
from .recovery import put_keys_aside
from .secretfiles import replace_file
from .seeds import SEED_SIZE, write_code
from .terminal import tell


def make_keys(configuration: Configuration, answers: Answers, lock: Lock) -> None:
    """
    Write the settings and new keys, and show their recovery code. Blocks.

    :raise OSError: something can't be written, or the code not be shown. Nothing is left.
    :raise click.ClickException: the keyring does not keep the passphrase. Nothing is left.
    """
    seed = secrets.token_bytes(SEED_SIZE)
    keys = lock.seal(seed)
    made = [configuration.keys_file, configuration.token_file, configuration.ca_file]
    made = [path for path in made if not path.exists()]
    try:
        _write(configuration, answers)
        configuration.write_keys(keys)
        for line in (_ABOUT_CODE if sys.stdout.isatty() else _ABOUT_SAVED_CODE).split("\n"):
            tell(line)
        click.echo(write_code(seed))
        sys.stdout.flush()
        # Last: from now on it counts.
        configuration.write_settings(_merge(configuration, {}, answers))
    except BaseException:
        forget_passphrase(keys)
        _remove(made)
        raise
    tell("")
    tell(f"All set, in {configuration.path}")


def replace_keys(
    configuration: Configuration,
    kept: dict[str, str] | None,
    answers: Answers,
    keys: KeysFile,
    old: KeysFile | None,
) -> None:
    """
    Write keys that were made again, and the settings that were given. Blocks.

    :param kept: the settings that were there; None if there were none.
    :param old: the keys that were there, if they could be read.
    :raise OSError: something can't be written.
    """
    try:
        _write(configuration, answers)
        if old is None:
            put_keys_aside(configuration)
        configuration.write_keys(keys)
    except BaseException:
        forget_passphrase(keys)
        raise
    configuration.write_settings(_merge(configuration, kept or {}, answers))
    if old is not None:
        forget_passphrase(old)
    tell(f"All set, with the keys of that code, in {configuration.path}")


_ABOUT_CODE = """
This is your recovery code. It is shown this once: write it down, and keep it
where only you can find it. Anyone who has it can read your blobs. If you lose
both it and the passphrase, nobody can read them, not even you.
"""

_ABOUT_SAVED_CODE = """
Your recovery code went to standard output, this once: keep it where only you
can find it. Anyone who has it can read your blobs. If you lose both it and the
passphrase, nobody can read them, not even you."""


def _write(configuration: Configuration, answers: Answers) -> None:
    make_folder(configuration.path)
    if answers.token is not None:
        replace_file(configuration.token_file, answers.token + "\n")
    if answers.authorities is not None:
        replace_file(configuration.ca_file, answers.authorities)


def _merge(
    configuration: Configuration, kept: Mapping[str, str], answers: Answers
) -> dict[str, str]:
    values = {**kept, **answers.values}
    if values.get("remote") == NO_SERVER:
        del values["remote"]
    if answers.token is not None:
        values["token_file"] = str(configuration.token_file)
    if answers.authorities is not None:
        values["ca"] = str(configuration.ca_file)
    return values


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink()
