"""``blobman server backup``, ``restore`` and ``check``."""

from __future__ import annotations

import click

from blobman import StoreError

from .administering import blobs_folder_option
from .failures import describe_error
from .options import json_option
from .paths import complete_folder
from .screen import Screen
from .terminal import tell
from .text import size_text

COULD_NOT_CHECK = 2
"""The exit code of a check that could not be made; 1 is that damage was found."""


@click.command("backup")
@click.argument("folder", metavar="DIR", type=click.Path())
@blobs_folder_option
@json_option()
def backup(folder: str, data: str, as_json: bool) -> None:
    """
    Make a backup in DIR, a new folder. The server may be running.

    What is in files of its own is linked, if DIR is on the same file system, and else copied. Until
    the backup is whole, the name of the folder ends with .incomplete.
    """
    from blobman.server.running import administration as admin

    made = admin.back_up(data, folder)
    manifest = made.manifest
    Screen(as_json).result(
        f"{_blobs_text(manifest.blobs, manifest.size)}: "
        f"{made.linked} {'file' if made.linked == 1 else 'files'} linked, {made.copied} copied",
        folder=folder,
        blobs=manifest.blobs,
        size=manifest.size,
        linked=made.linked,
        copied=made.copied,
    )


@click.command("restore")
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False))
@click.option(
    "--data",
    metavar="DIR",
    required=True,
    envvar="BLOBMAN_DATA",
    show_envvar=True,
    shell_complete=complete_folder,
    help="The folder of the blobs, which is new or empty.",
)
@json_option()
def restore(folder: str, data: str, as_json: bool) -> None:
    """
    Make a data folder from the backup in DIR.

    The backup is checked first. What was put after it is sent again by clients that have it. What
    was deleted after it is there again.
    """
    from blobman.server.running import administration as admin

    manifest = admin.restore(folder, data)
    Screen(as_json).result(
        _blobs_text(manifest.blobs, manifest.size),
        data=data,
        blobs=manifest.blobs,
        size=manifest.size,
    )


@click.command("check")
@click.option("--deep", is_flag=True, help="Read the content of all files, too.")
@click.option(
    "--repair", is_flag=True, help="Move damage aside, and serve the rest. No server may run."
)
@blobs_folder_option
@json_option()
def check(deep: bool, repair: bool, data: str, as_json: bool) -> int:
    """
    Look for damage in a data folder, or in a backup. The server may be running.

    Each finding is a line. The exit code is 0 if there is none, 1 if there are some, repaired or
    not, and 2 if the folder could not be checked or repaired.
    """
    from blobman.server.running import administration as admin

    screen = Screen(as_json)
    found = 0
    try:
        repaired = admin.repair(data, deep) if repair else None
        for finding in repaired.findings if repaired else admin.check(data, deep):
            screen.result(finding.text, **finding.fields())
            found += 1
    except (StoreError, OSError) as error:
        tell(f"blobman: {describe_error(error)}")
        return COULD_NOT_CHECK
    if repaired and found:
        screen.remark(f"what was damaged is now in {repaired.folder}")
    elif not found:
        screen.remark("nothing is damaged")
    return int(found > 0)


def _blobs_text(number: int, size: int) -> str:
    return f"{number} {'blob' if number == 1 else 'blobs'} ({size_text(size)})"
