"""Locks and opens keys, with a passphrase from a file, the terminal, or the keyring."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import NamedTuple

import click

from . import keyrings
from .keysfile import NONCE_SIZE, SALT_SIZE, KeptBy, KeysFile, WrongPassphraseError
from .secretfiles import read_secret
from .terminal import ask_hidden, has_terminal, tell

MIN_LENGTH = 8
"""Characters of a new passphrase."""

TRIES = 3
"""How often the user may type it."""


class Lock(NamedTuple):
    """
    A new passphrase for a seed.

    :ivar kept_by: who is to know it.
    :ivar passphrase: what it is; for the keyring, a random one.
    """

    kept_by: KeptBy
    passphrase: str

    def seal(self, seed: bytes) -> KeysFile:
        """
        Encrypt a seed; and let the keyring keep the passphrase, if it is to.

        :raise click.ClickException: the keyring does not.
        """
        salt, nonce = secrets.token_bytes(SALT_SIZE), secrets.token_bytes(NONCE_SIZE)
        keys = KeysFile.seal(seed, self.passphrase, self.kept_by, salt, nonce)
        if self.kept_by is KeptBy.KEYRING:
            keyrings.keep(_account(keys), self.passphrase)
        return keys


def choose_lock(in_keyring: bool, path: str | None, option: str) -> Lock:
    """
    Take or ask for a new passphrase.

    :param path: the file that holds it; None to ask for it.
    :param option: the option that names the file.
    :raise click.UsageError: it is too short, or there is no terminal to ask on.
    """
    if in_keyring:
        return Lock(KeptBy.KEYRING, secrets.token_urlsafe(32))
    if path is not None:
        passphrase = _read(path, tell)
        if len(passphrase) < MIN_LENGTH:
            raise click.UsageError(f"passphrase file {path!r}: {_TOO_SHORT}")
        return Lock(KeptBy.USER, passphrase)
    _need_terminal("a new passphrase", option)
    return Lock(KeptBy.USER, _ask_for_new())


def open_keys(keys: KeysFile, path: str | None, remark: Callable[[str], object] = tell) -> bytes:
    """
    Decrypt a seed, with the passphrase from where it is.

    :param path: the file that holds it, if the keyring does not; None to ask for it.
    :param remark: is told if others can read that file, too.
    :raise WrongPassphraseError: it is wrong.
    :raise click.ClickException: there is none to be had.
    """
    if keys.kept_by is KeptBy.KEYRING:
        return keys.open(keyrings.find(_account(keys)))
    if path is not None:
        return keys.open(_read(path, remark))
    _need_terminal("the passphrase", "--passphrase-file")
    for _ in range(TRIES - 1):
        try:
            return keys.open(ask_hidden("Passphrase: "))
        except WrongPassphraseError:  # noqa: PERF203
            tell("That is not it. Once more:")
    return keys.open(ask_hidden("Passphrase: "))


def forget_passphrase(keys: KeysFile) -> None:
    """Let the keyring forget the passphrase of keys that are not used any more."""
    if keys.kept_by is KeptBy.KEYRING:
        keyrings.forget(_account(keys))


_TOO_SHORT = f"a passphrase needs {MIN_LENGTH} characters or more"


def _ask_for_new() -> str:
    while True:
        passphrase = ask_hidden(f"New passphrase, of {MIN_LENGTH} characters or more: ")
        if len(passphrase) < MIN_LENGTH:
            tell(f"{_TOO_SHORT.capitalize()}.")
        elif passphrase != passphrase.rstrip():
            tell("It ends with a blank, which would be lost in a file.")
        elif ask_hidden("The same again: ") != passphrase:
            tell("These differ.")
        else:
            return passphrase


def _read(path: str, remark: Callable[[str], object]) -> str:
    try:
        return read_secret("passphrase", path, remark).decode("utf-8")
    except UnicodeDecodeError:
        # It holds what it could not decode.
        raise click.UsageError(f"passphrase file {path!r} does not hold UTF-8") from None


def _need_terminal(what: str, option: str) -> None:
    if not has_terminal():
        raise click.UsageError(f"there is no terminal to ask for {what} on: give {option}")


def _account(keys: KeysFile) -> str:
    """Name the entry: each passphrase has one, so the old one lasts until the new one counts."""
    return keys.salt.hex()
