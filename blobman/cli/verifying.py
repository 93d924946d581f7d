"""``blobman verify``."""

from __future__ import annotations

import click

from blobman import (
    BlobError,
    CertificateError,
    InvalidBlob,
    StoreError,
    SyncStatus,
    UnauthorizedError,
)

from .commands import Session, client_command, namespace_option

LANES = 4
"""How many blobs are compared at a time."""


@client_command("verify", store=True, secret=True)
@click.argument("ids", metavar="[ID]...", nargs=-1)
@namespace_option
@click.option("--deep", is_flag=True, help="Download and open each too; nothing is stored.")
async def verify(session: Session, ids: tuple[str, ...], namespace: str, deep: bool) -> None:
    """
    Look whether the server still has what is here.

    Compares the blobs given, or all that are in step, with the tags that the server reports,
    without downloading them. The exit code is not 0 if one differs or is missing.
    """
    from .waiting import in_lanes

    equal = 0
    external: set[str] = set()

    async def compare(blob_id: str) -> None:
        nonlocal equal
        try:
            if not await manager.verify(blob_id, namespace, deep):
                raise InvalidBlob(f"verify {blob_id!r}: the server has another blob of that id")
        except (StoreError, UnauthorizedError, CertificateError):
            # The next one would fare no better.
            raise
        except (BlobError, ValueError) as error:
            if _is_unreachable(error):
                raise
            session.screen.failure(blob_id, error)
        else:
            equal += 1
            if session.screen.as_json:
                session.screen.result("", verified=blob_id, external=blob_id in external)

    async with session.manager(server=True) as manager:
        chosen = ids or await manager.local_list_status(SyncStatus.SYNCED, namespace)
        assert manager.local is not None
        external.update(await manager.local.list_external(namespace))
        if deep:
            sizes = dict(await manager.local.get_size_list(SyncStatus.SYNCED, namespace))
            session.screen.tally.expect(sizes[it] for it in chosen if it in sizes)
        await in_lanes(LANES, chosen, compare)
    session.screen.remark(f"{equal} {'are' if equal != 1 else 'is'} the same on the server")
    unsealed = len(external.intersection(chosen))
    if unsealed:
        session.screen.remark(f"{unsealed} of them external: nothing vouches for what they say")


def _is_unreachable(error: BaseException) -> bool:
    """Whether there was no connection, so that there will be none for the next blob either."""
    from twisted.internet.error import ConnectError, DNSLookupError

    return isinstance(error.__cause__, (ConnectError, DNSLookupError))
