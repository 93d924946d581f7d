"""``blobman serve``."""

from __future__ import annotations

import os
from shlex import quote
from typing import Any

import click

from .catalogues import catalogue_option, check_catalogue, data_option
from .paths import complete_file
from .terminal import tell
from .tokens import tokens_option
from .work import Work

payloads_option = click.option(
    "--payloads",
    metavar="URL",
    envvar="BLOBMAN_PAYLOADS",
    show_envvar=True,
    help="Where large blobs are, if not there: DIR, or s3://BUCKET/PREFIX?endpoint=...&region=...",
)


@click.command("serve")
@data_option("The folder of the blobs; made if there is none.", exists=False)
@catalogue_option
@payloads_option
@click.option(
    "--keep-payloads",
    metavar="DAYS",
    type=click.FloatRange(min=0),
    default=0.0,
    help="For how long the bytes of deleted large blobs stay: longer than you go back to a backup "
    "of the catalogue.",
)
@click.option(
    "--listen",
    metavar="ENDPOINT",
    multiple=True,
    required=True,
    help="Where to listen; can be given several times.",
)
@tokens_option
@click.option(
    "--incoming",
    metavar="ENDPOINT",
    multiple=True,
    help="Where to listen for deliveries of local services; can be given several times.",
)
@click.option(
    "--incoming-tokens",
    metavar="FILE",
    shell_complete=complete_file,
    default="",
    help="The file with the hashes of the tokens of those services.",
)
@click.option(
    "--metrics",
    metavar="ENDPOINT",
    multiple=True,
    help="Where to serve figures for Prometheus; can be given several times.",
)
@click.option(
    "--grace",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    help="How long requests under way may take when it stops.",
)
def serve(
    data: str | None,
    catalogue: str | None,
    payloads: str | None,
    keep_payloads: float,
    listen: tuple[str, ...],
    tokens: str | None,
    incoming: tuple[str, ...],
    incoming_tokens: str,
    metrics: tuple[str, ...],
    grace: float,
) -> Work:
    """
    Run a server, until it gets SIGTERM or SIGINT.

    An ENDPOINT is one of Twisted's, such as

    \b
      tcp:8080:interface=127.0.0.1
      ssl:443:privateKey=key.pem:certKey=cert.pem
      unix:/run/blobman.sock

    Says on standard output where it listens, one address in a line; port 0 takes any that is
    free. What happens is logged on standard error. One for --incoming or --metrics that names no
    interface is on loopback.
    """
    if incoming and not incoming_tokens:
        raise click.UsageError("--incoming needs --incoming-tokens")
    for path in filter(None, (tokens, incoming_tokens)):
        if not os.path.exists(path):
            tell(f"There are no tokens yet: {path} is not there. blobman token add makes it.")
    if data is None and (catalogue is None or payloads is None):
        raise click.UsageError("give --data, or both --catalogue and --payloads")
    if catalogue is not None:
        check_catalogue(catalogue)
    if tokens is None:
        _tell_of_catalogue(catalogue or data or "")

    async def work(reactor: Any) -> None:
        from .listening import run_server

        await run_server(
            reactor,
            data,
            tokens,
            listen,
            grace=grace,
            incoming=incoming,
            incoming_tokens=incoming_tokens,
            metrics=metrics,
            catalogue=catalogue,
            payloads=payloads,
            keep_payloads=keep_payloads,
        )

    return Work(work, logs=True)


def _tell_of_catalogue(catalogue: str) -> None:
    """Say how to make the first token in the catalogue, if there is none."""
    from blobman.server.running.catalogues import FolderPlace, place_of

    place = place_of(catalogue)
    is_missing = isinstance(place, FolderPlace) and not os.path.isdir(place.data)
    if is_missing or not place.tokens().list():
        make_it = f"blobman token add USER --catalogue {quote(place.shown)}"
        tell(f"There are no tokens in the catalogue yet: {make_it} makes one.")
