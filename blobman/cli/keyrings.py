"""The system's keyring, which can keep a passphrase. The package ``keyring`` is optional."""

from __future__ import annotations

import types
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import click

SERVICE = "blobman"
"""What the entries of the keyring belong to."""


class KeyringFailed(click.ClickException):
    """The keyring does not do what it is asked to."""


def keep(account: str, passphrase: str) -> None:
    """
    Keep a passphrase, and look whether it is kept.

    :raise click.UsageError: there is no keyring, or one that keeps plain text.
    :raise KeyringFailed: it does not keep it.
    """
    keyring, errors = _load()
    backend = keyring.get_keyring()
    if _keeps_plain_text(backend):
        raise click.UsageError(
            f"the keyring of this system, {backend.name}, may keep the passphrase as plain text:"
            " leave out --keyring"
        )
    try:
        with _failures_of(errors):
            keyring.set_password(SERVICE, account, passphrase)
            is_kept = keyring.get_password(SERVICE, account) == passphrase
    except errors.NoKeyringError as error:
        raise click.UsageError(
            "this system has no keyring that could be used: leave out --keyring"
        ) from error
    if not is_kept:
        raise KeyringFailed("the keyring keeps nothing: leave out --keyring")


def find(account: str) -> str:
    """
    Find a passphrase that is kept.

    :raise click.UsageError: it does not have it any more.
    :raise KeyringFailed: it can't be reached, or read, such as when it stays locked.
    """
    keyring, errors = _load()
    try:
        with _failures_of(errors):
            passphrase: str | None = keyring.get_password(SERVICE, account)
    except errors.NoKeyringError as error:
        raise KeyringFailed(_UNREACHABLE) from error
    if passphrase is None:
        if _keeps_nothing(keyring.get_keyring()):
            raise KeyringFailed(_UNREACHABLE)
        raise click.UsageError(
            "the keyring does not have the passphrase of the keys any more: "
            "blobman init --recover makes them again, with the recovery code"
        )
    return passphrase


def forget(account: str) -> None:
    """Remove a passphrase, if it is there."""
    keyring, errors = _load()
    with suppress(KeyringFailed, errors.NoKeyringError), _failures_of(errors):
        keyring.delete_password(SERVICE, account)


def _load() -> tuple[types.ModuleType, types.ModuleType]:
    try:
        import keyring
        import keyring.errors
    except ModuleNotFoundError as error:
        raise click.UsageError(
            "the package for the keyring is not there: pip install 'blobman[keyring]'"
        ) from error
    return keyring, keyring.errors


_UNREACHABLE = (
    "the keyring that has the passphrase can't be reached from here: log in where it is unlocked, "
    "or set a passphrase of your own there, with blobman passphrase"
)


@contextmanager
def _failures_of(errors: types.ModuleType) -> Iterator[None]:
    """
    Turn whatever a keyring raises into ``KeyringFailed``: its backends let through what is below.

    :raise keyring.errors.NoKeyringError: there is none.
    """
    try:
        yield
    except errors.NoKeyringError:
        raise
    except Exception as error:
        text = str(error) or type(error).__name__
        raise KeyringFailed(f"the keyring refuses: {text}") from error


def _keeps_plain_text(backend: Any) -> bool:
    """Look whether what is kept ends up in a file that is not encrypted."""
    # Of several that are chained, the first one keeps it.
    first = next(iter(getattr(backend, "backends", ())), backend)
    kinds = type(first).__mro__
    is_alternative = any(kind.__module__.startswith("keyrings.alt.") for kind in kinds)
    return is_alternative and not any("Encrypted" in kind.__name__ for kind in kinds)


def _keeps_nothing(backend: Any) -> bool:
    return any(it.__module__ == "keyring.backends.null" for it in type(backend).__mro__)
