"""``blobman get``."""

from __future__ import annotations

import sys
import threading
from dataclasses import replace

import click

from blobman import ExternalBlobError

from .commands import Session, client_command, namespace_option
from .paths import complete_file
from .screen import Screen
from .streams import need_output, writing_output


def _check(output: str | None, force: bool, **_: object) -> None:
    from .targets import check_target

    if output in (None, "-"):
        need_output("the content", ": give -o FILE")
    else:
        check_target(output, force)


@client_command("get", store=True, secret=True, check=_check)
@click.argument("blob_id", metavar="ID")
@namespace_option
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    shell_complete=complete_file,
    help="Write to a file; - for standard output.",
)
@click.option("--external", is_flag=True, help="Write it even if others sealed it, or made it up.")
@click.option("-f", "--force", is_flag=True, help="Overwrite the file if there is one.")
async def get(
    session: Session,
    blob_id: str,
    namespace: str,
    output: str | None,
    external: bool,
    force: bool,
) -> None:
    """
    Write a blob to standard output, or to a file.

    It is fetched from the server if it is not here. The file appears when all of it has been
    written. With --json, there are no events if it goes to standard output. What is no text is
    not written to a terminal, unless with --output -.

    A blob that was delivered, such as incoming mail, has no seal of yours: the server can have made
    it up. It takes --external to have it written.
    """
    from .targets import is_text, write_file, write_pipe
    from .waiting import in_thread

    must_be_text = output is None and sys.stdout.isatty()
    output = output or "-"
    if output == "-" and session.screen.as_json:
        # Standard output is for the content.
        session = replace(session, screen=Screen(quiet=True))
    sys.stdout.flush()

    def write(stop: threading.Event) -> None:
        if must_be_text and not is_text(content, stop):
            hint = "give -o FILE, or -o - to have it on the terminal"
            raise click.UsageError(f"{blob_id} is not text: {hint}")
        if output == "-":
            with writing_output():
                write_pipe(content, sys.stdout.fileno(), stop)
        else:
            write_file(content, output, force, stop)

    async with session.manager(external=namespace if external else None) as manager:
        with await manager.get(blob_id, namespace) as content:
            if content.external and not external:
                raise ExternalBlobError(f"get {blob_id!r}: it has no seal of yours; see --external")
            await in_thread(session.reactor, write)
    if output == "-":
        return
    if session.screen.as_json:
        session.screen.result("", id=blob_id, file=output, external=content.external)
    else:
        session.screen.remark(f"{blob_id} is in {output}")
