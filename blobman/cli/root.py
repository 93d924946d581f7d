"""All the commands, in the order in which the help lists them."""

from __future__ import annotations

import click

from .administering import quota, server
from .changes import flags, rm
from .completion import completion
from .demo import demo
from .get import get
from .importing import import_soledad_command
from .init import init
from .keygen import keygen
from .lists import count, ls, status
from .maintaining import backup, check, restore
from .options import json_option, quiet_option, setting_options
from .passphrase import passphrase
from .put import put
from .serving import serve
from .sweeping import sweep
from .sync import sync
from .tokens import token
from .verifying import verify

_SECTIONS: tuple[tuple[str, tuple[click.Command, ...]], ...] = (
    ("Start here", (demo, init, passphrase, keygen, import_soledad_command, completion)),
    ("Blobs", (put, get, ls, rm, sync, status, verify)),
    ("Blobs on the server", (count, flags)),
    ("Run a server", (serve, token, quota, server)),
)


class _Root(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return [str(command.name) for _, commands in _SECTIONS for command in commands]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, self.list_commands(ctx)))
        for title, commands in _SECTIONS:
            with formatter.section(title):
                formatter.write_dl(
                    [(str(it.name).ljust(width), it.get_short_help_str(60)) for it in commands]
                )


def _show_version(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        from importlib import metadata

        try:
            version = metadata.version("blobman")
        except metadata.PackageNotFoundError:
            version = "(not installed)"
        click.echo(f"blobman {version}")
        context.exit()


@click.group(
    cls=_Root,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
)
@setting_options(hidden=True)
@json_option(hidden=True, expose_value=False)
@quiet_option(hidden=True, expose_value=False)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
@click.pass_context
def root(context: click.Context) -> None:
    """
    Keep files as end-to-end encrypted blobs: here, and on a server that can't read them.

    Each command has a --help. Its settings can be given before or after it, as variables
    BLOBMAN_..., such as BLOBMAN_REMOTE, or once and for all with blobman init.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for _command in (backup, restore, check, sweep):
    server.add_command(_command)

for _, _commands in _SECTIONS:
    for _command in _commands:
        root.add_command(_command)
