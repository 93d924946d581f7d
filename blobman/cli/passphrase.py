"""``blobman passphrase``."""

from __future__ import annotations

import click

from .commands import ClientCommand
from .configuration import Configuration
from .locks import choose_lock, forget_passphrase, open_keys
from .options import given_settings, setting_options
from .paths import complete_file
from .terminal import tell


@click.command("passphrase", cls=ClientCommand)
@click.option(
    "--new-passphrase-file",
    metavar="FILE",
    shell_complete=complete_file,
    help="Holds the new passphrase.",
)
@click.option("--keyring", is_flag=True, help="Let the system's keyring keep a random one.")
@setting_options(names=("config", "passphrase_file"))
@click.pass_context
def passphrase(context: click.Context, new_passphrase_file: str | None, keyring: bool) -> None:
    """
    Change the passphrase of the keys.

    The keys and the recovery code stay as they are. Anyone with a copy of the old file can still
    open that with the old passphrase.
    """
    given = given_settings(context)
    configuration = Configuration(given.get("config"))
    old = configuration.read_keys()
    if old is None:
        raise click.UsageError(f"there are no keys in {configuration.path}: see blobman init")
    kept = configuration.read_settings() or {}
    seed = open_keys(old, {**kept, **given}.get("passphrase_file"))
    new = choose_lock(keyring, new_passphrase_file, "--new-passphrase-file").seal(seed)
    try:
        configuration.write_keys(new)
    except BaseException:
        forget_passphrase(new)
        raise
    forget_passphrase(old)
    tell("The passphrase is changed.")
