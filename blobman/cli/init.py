"""``blobman init``."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import click

from .commands import ClientCommand
from .configuration import Configuration
from .folders import make_folder
from .locks import choose_lock, forget_passphrase
from .options import SETTINGS, given_settings, setting_options
from .paths import complete_file
from .questions import NO_SERVER, Answers, ask_for_settings, check_settings
from .recovery import get_seed, put_keys_aside, read_old_keys
from .secretfiles import replace_file
from .seeds import SEED_SIZE, write_code
from .streams import need_output
from .terminal import tell

_MADE_HERE = ("key_file", "secret_file")
_NOT_KEPT = ("config", "passphrase_file")


@click.command("init", cls=ClientCommand)
@click.option("--recover", is_flag=True, help="Make the keys again, from the recovery code.")
@click.option(
    "--code-file", metavar="FILE", shell_complete=complete_file, help="Holds the recovery code."
)
@click.option("--keyring", is_flag=True, help="Let the system's keyring keep the passphrase.")
@setting_options(names=[it.name for it in SETTINGS if it.name not in _MADE_HERE])
@click.pass_context
def init(context: click.Context, recover: bool, code_file: str | None, keyring: bool) -> None:
    """
    Set up this machine: settings, and keys under a passphrase.

    Asks for what is not given. Prints a recovery code, this once. It makes the same keys again:
    with --recover on another machine, so that it can read the same blobs, or here when the
    passphrase is lost.
    """
    given = given_settings(context)
    for setting in SETTINGS:
        if setting.name in _MADE_HERE and setting.name in given:
            raise click.UsageError(
                f"init makes the keys itself: leave out {setting.flag} and {setting.variable}"
            )
    if code_file is not None and not recover:
        raise click.UsageError("--code-file is for --recover")
    configuration = Configuration(given.get("config"))
    passphrase_file = given.get("passphrase_file")
    kept = configuration.read_settings() if recover else None
    # What is set up already is changed by what was typed only.
    given = given_settings(context, variables=kept is None)
    wishes = {name: value for name, value in given.items() if name not in _NOT_KEPT}
    if recover:
        _recover(configuration, kept, wishes, code_file, keyring, passphrase_file)
    else:
        _begin(configuration, wishes, keyring, passphrase_file)


def _begin(
    configuration: Configuration,
    wishes: dict[str, str],
    keyring: bool,
    passphrase_file: str | None,
) -> None:
    need_output("the recovery code")
    _refuse_to_overwrite(configuration, wishes)
    answers = ask_for_settings(wishes, wishes.get("store") or configuration.default_store)
    _refuse_foreign_store(answers)
    seed = secrets.token_bytes(SEED_SIZE)
    keys = choose_lock(keyring, passphrase_file, "--passphrase-file").seal(seed)
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


def _recover(
    configuration: Configuration,
    kept: dict[str, str] | None,
    wishes: dict[str, str],
    code_file: str | None,
    keyring: bool,
    passphrase_file: str | None,
) -> None:
    old = read_old_keys(configuration)
    seed = get_seed(code_file, old)
    if kept is None:
        answers = ask_for_settings(wishes, wishes.get("store") or configuration.default_store)
    else:
        answers = check_settings(wishes)
    keys = choose_lock(keyring, passphrase_file, "--passphrase-file").seal(seed)
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
where only you find it. Who has it can read your blobs. If you lose both it and
the passphrase, nobody can read them, not even you.
"""

_ABOUT_SAVED_CODE = """
Your recovery code went to standard output, this once: keep it where only you
find it. Who has it can read your blobs. If you lose both it and the passphrase,
nobody can read them, not even you.
"""


def _refuse_to_overwrite(configuration: Configuration, wishes: dict[str, str]) -> None:
    """
    Refuse if there is something already.

    :raise FileExistsError: there is.
    """
    if os.path.lexists(configuration.settings_file):
        hint = (
            f"this is set up already; you may edit it, and put another token into "
            f"{configuration.token_file}; see also blobman passphrase, and blobman init --recover"
        )
        raise FileExistsError(errno.EEXIST, hint, str(configuration.settings_file))
    if os.path.lexists(configuration.keys_file):
        hint = "keys without settings: blobman init --recover takes their recovery code"
        raise FileExistsError(errno.EEXIST, hint, str(configuration.keys_file))
    named = {os.path.abspath(wishes[name]) for name in ("token_file", "ca") if name in wishes}
    for path in (configuration.token_file, configuration.ca_file):
        if os.path.lexists(path) and str(path) not in named:
            raise FileExistsError(errno.EEXIST, "it exists, and is not overwritten", str(path))


def _refuse_foreign_store(answers: Answers) -> None:
    """
    Refuse a store that new keys can't open.

    :raise FileExistsError: it is one.
    """
    database = Path(answers.values["store"], f"{answers.values['user']}_blobs.db")
    if database.exists():
        hint = "there are blobs already, which new keys can't open; choose another --store"
        raise FileExistsError(errno.EEXIST, hint, str(database))


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
