"""``blobman keygen``."""

from __future__ import annotations

import click

from .paths import complete_file
from .secretfiles import new_secret, write_secret


@click.command("keygen")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, shell_complete=complete_file)
def keygen(files: tuple[str, ...]) -> None:
    """
    Make keys or secrets, each in a new file.

    Only you can read the file. Keep a copy in a safe place: without the secret that a blob was
    sealed with, nobody can read it again.
    """
    for path in files:
        write_secret(path, new_secret())
