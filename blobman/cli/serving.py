"""``blobman serve`` and ``blobman token``."""

from __future__ import annotations

import errno
import os
import time
from shlex import quote
from typing import Any

import click
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IListeningPort

from blobman.server.app import DEFAULT_LIMITS, GRACE, BlobsService
from blobman.server.auth import TokenFile, digest
from blobman.server.connections import allow

from .options import json_option
from .paths import complete_file, complete_folder
from .running import Work
from .screen import Screen
from .secretfiles import write_secret
from .terminal import tell
from .waiting import until_ended

_tokens_option = click.option(
    "--tokens",
    metavar="FILE",
    shell_complete=complete_file,
    required=True,
    envvar="BLOBMAN_TOKENS",
    show_envvar=True,
    help="The file with the hashes of all tokens.",
)


@click.command("serve")
@click.option(
    "--data",
    metavar="DIR",
    shell_complete=complete_folder,
    required=True,
    envvar="BLOBMAN_DATA",
    show_envvar=True,
    help="The folder of the blobs; made if there is none.",
)
@click.option(
    "--listen",
    metavar="ENDPOINT",
    multiple=True,
    required=True,
    help="Where to listen; can be given several times.",
)
@_tokens_option
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
    default=GRACE,
    show_default=True,
    help="How long requests under way may take when it stops.",
)
def serve(
    data: str,
    listen: tuple[str, ...],
    tokens: str,
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

    async def work(reactor: Any) -> None:
        allow(DEFAULT_LIMITS.connections)
        try:
            service = BlobsService(
                data,
                tokens,
                listen,
                reactor,
                grace=grace,
                incoming=incoming,
                incoming_tokens=incoming_tokens,
                metrics=metrics,
            )
        except ValueError as error:
            raise click.UsageError(f"--{error}") from error
        except ImportError as error:
            raise click.UsageError("--metrics needs more: pip install 'blobman[server]'") from error
        await _serve(service)

    return Work(work, logs=True)


async def _serve(service: BlobsService) -> None:
    screen = Screen()
    service.startService()
    try:
        for port in await service.when_listening():
            screen.result(f"listening on {_address(port)}")
        await Deferred[None]()
    except CancelledError:
        # Being told to stop is how a server ends well.
        pass
    finally:
        await until_ended(service.stopService())


def _address(port: IListeningPort) -> str:
    address: Any = port.getHost()
    if isinstance(address, UNIXAddress):
        return f"unix:{(address.name or b'').decode(errors='replace')}"
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{host}:{address.port}"


@click.group("token")
def token() -> None:
    """Add, list and revoke the tokens of users."""


@token.command("add")
@click.argument("user")
@_tokens_option
@click.option("--label", metavar="TEXT", default="", help="What to call it, such as phone.")
@click.option(
    "--save",
    metavar="FILE",
    shell_complete=complete_file,
    help="Write the token to a new file instead.",
)
def add(user: str, tokens: str, label: str, save: str | None) -> None:
    """
    Make a token for USER, and print it.

    The file keeps only its hash: it can't be shown again. A user may have several, one for each
    device; a label tells them apart, and so does the id, which is said on standard error.
    """
    if save is not None and os.path.lexists(save):
        raise FileExistsError(errno.EEXIST, "it exists, and is not overwritten", save)
    file = TokenFile(tokens)
    made = file.add(user, label)
    if save is None:
        click.echo(made)
    else:
        write_secret(save, made)
    for it in file.list(user):
        if it.digest == digest(made):
            name = quote(it.label or it.token_id)
            revoke_it = f"blobman token revoke {user} {name} --tokens {quote(tokens)}"
            tell(f"Its id is {it.token_id}: {revoke_it} ends it.")


@token.command("list")
@click.argument("user", required=False)
@_tokens_option
@json_option()
def list_tokens(user: str | None, tokens: str, as_json: bool) -> None:
    """List the tokens, of all users or of one: user, id, when it was made, and its label."""
    screen = Screen(as_json)
    found = TokenFile(tokens).list(user)
    if not found:
        screen.remark(f"no tokens{f' of {user}' if user else ''} in {tokens} yet")
    for it in found:
        made = time.strftime("%Y-%m-%d %H:%M", time.localtime(it.created))
        screen.result(
            f"{it.user}  {it.token_id}  {made}  {it.label}".rstrip(),
            user=it.user,
            id=it.token_id,
            created=it.created,
            label=it.label,
        )


@token.command("revoke")
@click.argument("user")
@click.argument("token", required=False)
@_tokens_option
@click.option("--all", "everything", is_flag=True, help="All tokens of the user.")
def revoke(user: str, token: str | None, tokens: str, everything: bool) -> None:
    """
    Forget a TOKEN of USER, named by its label or by the id that token list shows. A running
    server follows.
    """
    if everything == (token is not None):
        raise click.UsageError("give the label or the id of a token, or --all")
    if not TokenFile(tokens).revoke(user, token):
        raise click.ClickException(f"no such token of {user}")
