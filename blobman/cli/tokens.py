"""``blobman token``."""

from __future__ import annotations

import errno
import os
import time
from shlex import quote
from typing import TYPE_CHECKING, NamedTuple

import click

from .catalogues import catalogue_option, choose
from .options import F, json_option
from .paths import complete_file
from .screen import Screen
from .secretfiles import write_secret
from .streams import need_output
from .terminal import tell

if TYPE_CHECKING:
    from blobman.server.accounts.interface import ITokens

tokens_option = click.option(
    "--tokens",
    metavar="FILE",
    shell_complete=complete_file,
    envvar="BLOBMAN_TOKENS",
    show_envvar=True,
    help="The file with the hashes of all tokens, if they are not in the catalogue.",
)


def _place_options(command: F) -> F:
    """Give a command the options that say where tokens are."""
    return tokens_option(catalogue_option(command))


class _Place(NamedTuple):
    """
    Where tokens are.

    :ivar option: how a command line says so.
    :ivar value: likewise, without a password.
    """

    tokens: ITokens
    option: str
    value: str


def _find_place(tokens: str | None, catalogue: str | None) -> _Place:
    """
    Find where the options say that they are.

    :raise click.UsageError: not exactly one is given, or that is no catalogue.
    """
    name, value = choose({"tokens": tokens, "catalogue": catalogue})
    if name == "tokens":
        from blobman.server.accounts.tokens import TokenFile

        return _Place(TokenFile(value), "--tokens", value)
    from blobman.server.running.administration import tokens_of
    from blobman.server.running.catalogues import place_of

    try:
        return _Place(tokens_of(value), "--catalogue", place_of(value).shown)
    except ValueError as error:
        raise click.UsageError(f"--catalogue: {error}") from error


@click.group("token")
def token() -> None:
    """Add, list and revoke the tokens of users."""


@token.command("add")
@click.argument("user")
@_place_options
@click.option("--label", metavar="TEXT", default="", help="What to call it, such as phone.")
@click.option(
    "--save",
    metavar="FILE",
    shell_complete=complete_file,
    help="Write the token to a new file instead.",
)
def add(user: str, tokens: str | None, catalogue: str | None, label: str, save: str | None) -> None:
    """
    Make a token for USER, and print it.

    Only its hash is kept: it can't be shown again. A user may have several, one for each
    device; a label tells them apart, and so does the id, which is said on standard error.
    """
    if save is not None and os.path.lexists(save):
        raise FileExistsError(errno.EEXIST, "it exists, and is not overwritten", save)
    from blobman.server.accounts.tokens import digest

    if save is None:
        need_output("the token", ": give --save FILE")
    place = _find_place(tokens, catalogue)
    made = place.tokens.add(user, label)
    if save is None:
        click.echo(made)
    else:
        write_secret(save, made)
    for it in place.tokens.list(user):
        if it.digest == digest(made):
            name = quote(it.label or it.token_id)
            revoke_it = f"blobman token revoke {user} {name} {place.option} {quote(place.value)}"
            tell(f"Its id is {it.token_id}: {revoke_it} ends it.")


@token.command("list")
@click.argument("user", required=False)
@_place_options
@json_option()
def list_tokens(user: str | None, tokens: str | None, catalogue: str | None, as_json: bool) -> None:
    """
    List the tokens of all users, or of one.

    Shows of each: user, id, when it was made, and its label.
    """
    screen = Screen(as_json)
    place = _find_place(tokens, catalogue)
    found = place.tokens.list(user)
    if not found:
        screen.remark(f"no tokens{f' of {user}' if user else ''} in {place.value} yet")
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
@_place_options
@click.option("--all", "everything", is_flag=True, help="All tokens of the user.")
def revoke(
    user: str, token: str | None, tokens: str | None, catalogue: str | None, everything: bool
) -> None:
    """
    Forget a token of USER.

    TOKEN is its label, or the id that token list shows. A running server refuses it at once.
    """
    if everything == (token is not None):
        raise click.UsageError("give the label or the id of a token, or --all")
    place = _find_place(tokens, catalogue)
    if not place.tokens.revoke(user, token):
        raise click.ClickException(f"no such token of {user} in {place.value}")
