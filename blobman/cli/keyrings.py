"""The system's keyring, which can keep a passphrase. The package ``keyring`` is optional."""

from __future__ import annotations

import types

import click

SERVICE = "blobman"
"""What the entries of the keyring belong to."""


class KeyringFailed(click.ClickException):
    """The keyring does not do what it is asked to."""


def keep(account: str, passphrase: str) -> None:
    """
    Keep a passphrase, and look whether it is kept.

    :raise click.UsageError: there is no keyring.
    :raise KeyringFailed: it does not keep it.
    """
    keyring, errors = _load()
    try:
        keyring.set_password(SERVICE, account, passphrase)
        is_kept = keyring.get_password(SERVICE, account) == passphrase
    except errors.NoKeyringError as error:
        raise click.UsageError(
            "this system has no keyring that could be used: leave out --keyring"
        ) from error
    except errors.KeyringError as error:
        raise KeyringFailed(_describe(error)) from error
    if not is_kept:
        raise KeyringFailed("the keyring keeps nothing: leave out --keyring")


def find(account: str) -> str:
    """
    Find a passphrase that is kept.

    :raise click.UsageError: there is no keyring, or it does not have it.
    :raise KeyringFailed: it can't be read, such as when it stays locked.
    """
    keyring, errors = _load()
    try:
        passphrase: str | None = keyring.get_password(SERVICE, account)
    except errors.NoKeyringError:
        passphrase = None
    except errors.KeyringError as error:
        raise KeyringFailed(_describe(error)) from error
    if passphrase is None:
        raise click.UsageError(
            "the keyring does not have the passphrase of the keys any more: "
            "blobman init --recover makes them again, with the recovery code"
        )
    return passphrase


def forget(account: str) -> None:
    """Remove a passphrase, if it is there."""
    keyring, errors = _load()
    try:
        keyring.delete_password(SERVICE, account)
    except errors.KeyringError:
        pass


def _load() -> tuple[types.ModuleType, types.ModuleType]:
    try:
        import keyring
        import keyring.errors
    except ModuleNotFoundError as error:
        raise click.UsageError(
            "the package for the keyring is not there: pip install 'blobman[keyring]'"
        ) from error
    return keyring, keyring.errors


def _describe(error: Exception) -> str:
    return f"the keyring refuses: {str(error) or type(error).__name__}"
