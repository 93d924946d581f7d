"""``blobman import-soledad``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from .commands import Session, client_command
from .text import size_text, table_lines

if TYPE_CHECKING:
    from blobman import SoledadReport


@client_command("import-soledad")
@click.option("--dry-run", is_flag=True, help="Only show what would be taken over.")
async def import_soledad_command(session: Session, dry_run: bool) -> None:
    """
    Take over the store that Soledad left.

    The store's folder holds Soledad's database, USER_blobs.db, which --key-file opens. It
    becomes a database of blobman; the old one is kept as USER_blobs.db.soledad. Any other
    command that opens the store does the same, without a report.

    A dry run changes nothing, except that a transaction in which Soledad crashed is taken back.
    """
    from blobman import import_soledad

    settings = session.settings
    user, store = settings.need("user", "no user"), settings.need("store", "no local store")
    key = settings.read_key()
    try:
        working = import_soledad(
            store,
            user,
            key,
            dry_run=dry_run,
            reactor=session.reactor,
            external_namespaces=settings.external_namespaces(),
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    report = await working
    if report is None:
        session.screen.remark("Nothing to do: this is a store of blobman already.")
    elif session.screen.as_json:
        session.screen.result("", dry_run=dry_run, **asdict(report))
    else:
        for line in _lines(report, dry_run):
            session.screen.result(line)


def _lines(report: SoledadReport, dry_run: bool) -> Iterator[str]:
    yield f"{report.blobs} blobs, {report.payloads} of them here, {size_text(report.size)}"
    if report.statuses:
        yield from table_lines([(name, str(n)) for name, n in report.statuses.items()])
    for remark, n in report.remarks.items():
        yield f"{n} x {remark}"
    if not dry_run:
        yield f"The old database is kept as {report.kept}"
