"""``blobman init``."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .commands import ClientCommand
from .configuration import Configuration
from .locks import Lock, choose_lock
from .options import SETTINGS, given_settings, is_on, setting_options
from .paths import complete_file
from .questions import NO_SERVER, Answers, ask_for_settings, check_settings
from .recovery import get_seed, read_old_keys
from .secretfiles import read_token
from .setting_up import make_keys, replace_keys
from .streams import need_output
from .work import Work

if TYPE_CHECKING:
    from .asking import Server

_MADE_HERE = ("key_file", "secret_file")
_NOT_KEPT = ("config", "passphrase_file")


@click.command("init", cls=ClientCommand)
@click.option("--recover", is_flag=True, help="Make the keys again, from the recovery code.")
@click.option(
    "--code-file", metavar="FILE", shell_complete=complete_file, help="Holds the recovery code."
)
@click.option("--keyring", is_flag=True, help="Let the system's keyring keep the passphrase.")
@click.option("--offline", is_flag=True, help="Do not ask the server whether all is right.")
@setting_options(names=[it.name for it in SETTINGS if it.name not in _MADE_HERE])
@click.pass_context
def init(
    context: click.Context, recover: bool, code_file: str | None, keyring: bool, offline: bool
) -> Work:
    """
    Set up this machine: settings, and keys under a passphrase.

    Asks for what is not given, and the server whether it can be used with that. Prints a recovery
    code, this once. It makes the same keys again: with --recover on another machine, so that it
    can read the same blobs, or here when the passphrase is lost.
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
    locking = partial(choose_lock, keyring, given.get("passphrase_file"), "--passphrase-file")
    kept = configuration.read_settings() if recover else None
    # What is set up already is changed by what was typed only.
    given = given_settings(context, variables=kept is None)
    wishes = {name: value for name, value in given.items() if name not in _NOT_KEPT}
    if recover:
        return _recover(configuration, kept, wishes, code_file, locking, offline)
    return _begin(configuration, wishes, locking, offline)


def _begin(
    configuration: Configuration,
    wishes: dict[str, str],
    locking: Callable[[], Lock],
    offline: bool,
) -> Work:
    need_output("the recovery code")
    _refuse_to_overwrite(configuration, wishes)
    answers = ask_for_settings(wishes, wishes.get("store") or configuration.default_store)
    _refuse_foreign_store(answers)
    lock = locking()

    async def work(reactor: Any) -> None:
        from .asking import refuse_other_keys
        from .waiting import in_thread

        server = None if offline else _server({}, answers)
        if server is not None:
            await refuse_other_keys(reactor, server)
        await in_thread(reactor, lambda stop: make_keys(configuration, answers, lock))

    return Work(work)


def _recover(
    configuration: Configuration,
    kept: dict[str, str] | None,
    wishes: dict[str, str],
    code_file: str | None,
    locking: Callable[[], Lock],
    offline: bool,
) -> Work:
    old = read_old_keys(configuration)
    seed = get_seed(code_file, old)
    if kept is None:
        answers = ask_for_settings(wishes, wishes.get("store") or configuration.default_store)
    else:
        answers = check_settings(wishes)
    lock = locking()

    async def work(reactor: Any) -> None:
        from .asking import count_blobs
        from .waiting import in_thread

        server = None if offline else _server(kept or {}, answers)
        if server is not None:
            await count_blobs(reactor, server)
        await in_thread(
            reactor, lambda stop: replace_keys(configuration, kept, answers, lock.seal(seed), old)
        )

    return Work(work)


def _server(kept: Mapping[str, str], answers: Answers) -> Server | None:
    """
    Give the server, if it has to be asked.

    :param kept: the settings that are there already.
    :return: None if there is none, or nothing new about it.
    """
    from .asking import Server

    is_new = {"remote", "user"} & {*answers.values} or answers.token or answers.ca
    values = {**kept, **answers.values}
    remote, user = values.get("remote", NO_SERVER), values.get("user")
    token = answers.token
    if token is None and "token_file" in kept:
        token = read_token(kept["token_file"])
    if not is_new or remote == NO_SERVER or user is None or token is None:
        return None
    ca = answers.ca or kept.get("ca")
    return Server(remote, user, token, ca, is_on(values.get("insecure")))


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
