"""``blobman server sweep``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from blobman import StoreError

from .catalogues import catalogue_option, data_option
from .failures import describe_error
from .options import json_option
from .screen import Screen
from .serving import payloads_option
from .terminal import tell
from .work import Work

if TYPE_CHECKING:
    from blobman.server.storage.maintenance.findings import Finding

COULD_NOT_COMPARE = 2
"""The exit code if there was no comparison; 1 is that something was found."""


@click.command("sweep")
@click.option("--list", "by_list", is_flag=True, help="List all that is there.")
@click.option("--deep", is_flag=True, help="Read the content of all large blobs, too.")
@click.option("--remove", is_flag=True, help="Remove what the catalogue does not know.")
@data_option("The folder of the catalogue, or of the payloads.", exists=False)
@catalogue_option
@payloads_option
@json_option()
def sweep(
    by_list: bool,
    deep: bool,
    remove: bool,
    data: str | None,
    catalogue: str | None,
    payloads: str | None,
    as_json: bool,
) -> Work:
    """
    Compare a store of large blobs with the catalogue.

    It is for after the catalogue was put back from a backup: names the blobs whose bytes are
    missing, and what is there that no blob has. That is only removed with --remove, and not if it
    is younger than ten minutes. A server may be running, unless the catalogue is in a folder.

    Each finding is a line. The exit code is 0 if there is none, 1 if there are some, removed or
    not, and 2 if nothing could be compared.
    """
    if not by_list:
        raise click.UsageError("give --list: all that is there is going to be listed")

    async def work(reactor: Any) -> int:
        from blobman.server.running import sweeping

        screen = Screen(as_json)
        found = 0

        def show(finding: Finding) -> None:
            nonlocal found
            found += 1
            screen.result(finding.text, **finding.fields())

        try:
            removed = await sweeping.sweep(reactor, data, catalogue, payloads, deep, remove, show)
        except ValueError as error:
            raise click.UsageError(f"--{error}") from error
        except (StoreError, OSError) as error:
            tell(f"blobman: {describe_error(error)}")
            return COULD_NOT_COMPARE
        if removed:
            screen.remark(f"{removed} removed")
        elif not found:
            screen.remark("nothing is missing, and nothing is left over")
        return int(found > 0)

    return Work(work)
