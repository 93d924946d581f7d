"""``blobman put``."""

from __future__ import annotations

import os

import click

from blobman import Priority

from .commands import Session, client_command, namespace_option
from .paths import complete_file

_PRIORITIES = [priority.name.lower() for priority in Priority]


@client_command("put", store=True, secret=True)
@click.argument("files", metavar="FILE...", nargs=-1, required=True, shell_complete=complete_file)
@namespace_option
@click.option(
    "-p",
    "--priority",
    type=click.Choice(_PRIORITIES, case_sensitive=False),
    default=Priority.DEFAULT.name.lower(),
    show_default=True,
    help="How urgent the upload is.",
)
@click.option("--local-only", is_flag=True, help="Keep it here; never send it.")
@click.option("--id", "blob_id", metavar="ID", help="The blob's id, if not a new random one.")
async def put(
    session: Session,
    files: tuple[str, ...],
    namespace: str,
    priority: str,
    local_only: bool,
    blob_id: str | None,
) -> None:
    """
    Store files as blobs, and send them to the server.

    Prints the id of each. A folder stands for all files in it and below, without those of the
    local store and of the configuration; - stands for standard input.
    """
    if blob_id is not None and (len(files) > 1 or os.path.isdir(files[0])):
        raise click.UsageError("--id is for one file")
    from .putting import Wishes, put_files

    await put_files(session, files, Wishes(namespace, priority, local_only, blob_id))
