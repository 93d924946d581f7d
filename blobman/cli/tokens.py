"""``blobman token``."""

from __future__ import annotations

import errno
import os
import time
from shlex import quote

import click

from .options import json_option
from .paths import complete_file
from .screen import Screen
from .secretfiles import write_secret
from .streams import need_output
from .terminal import tell

tokens_option = click.option(
    "--tokens",
    metavar="FILE",
    shell_complete=complete_file,
    required=True,
    envvar="BLOBMAN_TOKENS",
    show_envvar=True,
    help="The file with the hashes of all tokens.",
)


@click.group("token")
def token() -> None:
    """Add, list and revoke the tokens of users."""


@token.command("add")
@click.argument("user")
@tokens_option
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
    from blobman.server.accounts.tokens import TokenFile, digest

    if save is None:
        need_output("the token", ": give --save FILE")
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
@tokens_option
@json_option()
def list_tokens(user: str | None, tokens: str, as_json: bool) -> None:
    """List the tokens, of all users or of one: user, id, when it was made, and its label."""
    from blobman.server.accounts.tokens import TokenFile

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
@tokens_option
@click.option("--all", "everything", is_flag=True, help="All tokens of the user.")
def revoke(user: str, token: str | None, tokens: str, everything: bool) -> None:
    """
    Forget a TOKEN of USER, named by its label or by the id that token list shows. A running
    server follows.
    """
    from blobman.server.accounts.tokens import TokenFile

    if everything == (token is not None):
        raise click.UsageError("give the label or the id of a token, or --all")
    if not TokenFile(tokens).revoke(user, token):
        raise click.ClickException(f"no such token of {user} in {tokens}")
