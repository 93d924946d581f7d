"""``blobman sync``."""

from __future__ import annotations

import click

from .commands import Session, client_command


@client_command("sync", store=True, secret=True)
@click.option(
    "-n",
    "--namespace",
    "namespaces",
    metavar="NAME",
    multiple=True,
    envvar="BLOBMAN_NAMESPACE",
    show_envvar=True,
    help="The namespace; can be given several times.",
)
@click.option(
    "--all", "everything", is_flag=True, help="All namespaces, of the server and of this machine."
)
@click.option(
    "--watch",
    metavar="[SECONDS]",
    type=click.FloatRange(min=1),
    is_flag=False,
    flag_value=60.0,
    help="Keep running: move changes as they come, and report them. SECONDS, by default 60, is the "
    "time between two looks for new namespaces, and at what the server can't report by itself.",
)
async def sync(
    session: Session, namespaces: tuple[str, ...], everything: bool, watch: float | None
) -> None:
    """
    Bring this machine and the server into step.

    Deletes here what was deleted there and the other way round, fetches what is missing here,
    sends what is missing there. What fails for a reason that may pass is tried again.
    """
    if watch is None:
        from .synchronizing import synchronize

        await synchronize(session, namespaces, everything)
    else:
        from .watching import watch as follow

        await follow(session, namespaces, everything, watch)
