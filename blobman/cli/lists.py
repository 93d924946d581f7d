"""``blobman ls``, ``count`` and ``status``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import click

from blobman import Flags, SyncStatus

from .commands import ClientCommand, Session, client_command, namespace_option
from .text import size_text, table_lines

if TYPE_CHECKING:
    from blobman import BlobManager


class _Entry(NamedTuple):
    """A blob in a list; what was not asked for is None."""

    blob_id: str
    here: bool | None = None
    there: bool | None = None
    status: SyncStatus | None = None
    size: int | None = None
    external: bool | None = None

    def cells(self) -> list[str]:
        where = {(True, True): "both", (False, True): "server", (False, False): "nowhere"}
        status = "-" if self.status is None else self.status.name
        if self.external:
            status += ", external"
        size = "-" if self.size is None else size_text(self.size)
        place = where.get((bool(self.here), bool(self.there)), "local")
        return [self.blob_id, place, status, size]

    def fields(self) -> dict[str, object]:
        values = self._asdict()
        values["id"] = values.pop("blob_id")
        values["status"] = None if self.status is None else self.status.name
        return {name: value for name, value in values.items() if value is not None}


class _List(ClientCommand):
    """Says what lists the blobs on the server: ``--remote`` alone does not."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse ``--remote`` without a URL, with a hint."""
        if "--remote" in args and "://" not in "".join(args[args.index("--remote") + 1 :][:1]):
            hint = "--remote needs the server's URL; --where server lists the blobs there"
            raise click.UsageError(hint, ctx)
        return super().parse_args(ctx, args)


@client_command("ls", store=lambda where, **_: where != "server", cls=_List)
@namespace_option
@click.option(
    "-w",
    "--where",
    type=click.Choice(["local", "server", "both"]),
    default="local",
    show_default=True,
    help="Which blobs.",
)
@click.option("-l", "--long", is_flag=True, help="Show status and size; done for both anyway.")
@click.option("--order", type=click.Choice(["date", "-date"]), help="Oldest, or newest, first.")
@click.option("--deleted", is_flag=True, help="List what was deleted on the server instead.")
@click.option("--flag", type=click.Choice([it.value for it in Flags]), help="What carries it.")
async def ls(
    session: Session,
    namespace: str,
    where: str,
    long: bool,
    order: str | None,
    deleted: bool,
    flag: str | None,
) -> None:
    """
    List the ids of blobs.

    Those here; with --where server those there, or both with their status. --order, --deleted
    and --flag are for --where server.
    """
    if where != "server" and (order or deleted or flag):
        raise click.UsageError("--order, --deleted and --flag are for --where server")
    if where == "server" and long:
        raise click.UsageError(
            "--long is for --where local and --where both: the server lists ids only"
        )
    async with session.manager(server=where != "local") as manager:
        if where == "server":
            listed = await manager.remote_list(namespace, order, deleted, flag or False)
            entries = [_Entry(blob_id) for blob_id in listed]
        elif where == "local" and not long:
            entries = [_Entry(blob_id) for blob_id in await manager.local_list(namespace)]
        else:
            there = await manager.remote_list(namespace) if where == "both" else None
            entries = await _compare(manager, namespace, there)
    _show(session, entries, long or where == "both")


async def _compare(
    manager: BlobManager, namespace: str, listed: Iterable[str] | None
) -> list[_Entry]:
    """
    Give what is here, with status and size; and what is not, in the order of the server.

    :param listed: what the server has; None if only what is here is of interest.
    """
    assert manager.local is not None
    there = None if listed is None else dict.fromkeys(listed)
    external = set(await manager.local.list_external(namespace))
    entries = []
    for status in SyncStatus:
        sizes = dict(await manager.local.get_size_list(status, namespace))
        for blob_id in await manager.local_list_status(status, namespace):
            is_there = None if there is None else blob_id in there
            here = blob_id in sizes
            is_external = blob_id in external if here else None
            entries.append(_Entry(blob_id, here, is_there, status, sizes.get(blob_id), is_external))
    if there is None:
        return [entry for entry in entries if entry.here]
    known = {entry.blob_id for entry in entries}
    return entries + [_Entry(blob_id, False, True) for blob_id in there if blob_id not in known]


def _show(session: Session, entries: Sequence[_Entry], long: bool) -> None:
    texts = [entry.blob_id for entry in entries]
    if long and entries:
        texts = list(table_lines([entry.cells() for entry in entries], left=3))
    for entry, text in zip(entries, texts, strict=True):
        session.screen.result(text, **entry.fields())


@client_command("count")
@namespace_option
async def count(session: Session, namespace: str) -> None:
    """Count the blobs on the server."""
    async with session.manager(server=True) as manager:
        counted = await manager.count(namespace)
    session.screen.result(str(counted["count"]), **counted)


@client_command("status", store=True)
@click.argument(
    "status",
    metavar="[STATUS]",
    required=False,
    type=click.Choice([it.name for it in SyncStatus], case_sensitive=False),
)
@click.option("-n", "--namespace", metavar="NAME", help="Count in this one only.")
async def status(session: Session, status: str | None, namespace: str | None) -> None:
    """
    Count the blobs here by status, or list those of one.

    Counts all namespaces, unless one is given, and says if there are files of blobs that the
    store does not know. Lists are of one namespace, the most urgent blob first. STATUS is SYNCED,
    PENDING_UPLOAD, PENDING_DOWNLOAD, FAILED_UPLOAD, FAILED_DOWNLOAD, PENDING_DELETE or
    LOCAL_ONLY.
    """
    async with session.manager(server=False) as manager:
        if status is not None:
            ids = await manager.local_list_status(SyncStatus[status.upper()], namespace or "")
            _show(session, [_Entry(blob_id) for blob_id in ids], long=False)
            return
        counts = await _count_statuses(manager, namespace)
        assert manager.local is not None
        found = await manager.local.list_found()
    if found:
        session.screen.warning(
            f"{len(found)} file{'s' * (len(found) > 1)} of blobs that the store does not know: "
            f"{os.path.dirname(found[0])}"
        )
    if session.screen.as_json:
        session.screen.result("", **counts)
    elif counts:
        rows = [(it.name, str(counts[it.name])) for it in SyncStatus if it.name in counts]
        for line in table_lines(rows):
            session.screen.result(line)


async def _count_statuses(manager: BlobManager, namespace: str | None) -> dict[str, int]:
    if namespace is None:
        return await manager.sync_progress
    assert manager.local is not None
    return await manager.local.get_sync_progress(namespace)
