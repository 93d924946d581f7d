"""``blobman rm`` and ``flags``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from blobman import BlobError, Flags, StoreError, SyncStatus

from .commands import Session, client_command, namespace_option

if TYPE_CHECKING:
    from blobman import BlobManager

LANES = 8
"""How many blobs are deleted at a time."""


@client_command("rm", store=True)
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@namespace_option
async def rm(session: Session, ids: tuple[str, ...], namespace: str) -> None:
    """Delete blobs, here and on the server."""
    from .waiting import in_lanes

    async def remove(blob_id: str) -> None:
        try:
            await manager.delete(blob_id, namespace)
        except StoreError:
            # The next one would fare no better.
            raise
        except (BlobError, ValueError) as error:
            remark = await _remark_on(manager, blob_id, namespace)
            session.screen.failure(blob_id, error, remark)
        else:
            if session.screen.as_json:
                session.screen.result("", deleted=blob_id)

    async with session.manager() as manager:
        await in_lanes(LANES, ids, remove)


async def _remark_on(manager: BlobManager, blob_id: str, namespace: str) -> str:
    if blob_id in await manager.local_list_status(SyncStatus.PENDING_DELETE, namespace):
        return "it is hidden here, and blobman sync will delete it"
    return ""


@client_command("flags")
@click.argument("blob_id", metavar="ID")
@click.argument(
    "flags",
    metavar="[FLAG]...",
    nargs=-1,
    type=click.Choice([flag.value for flag in Flags], case_sensitive=False),
)
@click.option("--clear", is_flag=True, help="Remove all flags.")
@namespace_option
async def flags(
    session: Session, blob_id: str, flags: tuple[str, ...], clear: bool, namespace: str
) -> None:
    """
    Show the flags of a blob on the server, or replace them.

    Flags are PENDING, PROCESSING, PROCESSED and FAILED.
    """
    if clear and flags:
        raise click.UsageError("--clear removes all flags: give none with it")
    async with session.manager(server=True) as manager:
        if flags or clear:
            await manager.set_flags(blob_id, list(flags), namespace)
            return
        found = [flag.value for flag in await manager.get_flags(blob_id, namespace)]
    if session.screen.as_json:
        session.screen.result("", id=blob_id, flags=found)
    for flag in [] if session.screen.as_json else found:
        session.screen.result(flag)
