"""What the commands have in common: their options, and the session that they get."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import click
from twisted.internet.defer import Deferred

from blobman import BlobManager

from .progress import showing_progress
from .running import Work
from .screen import Screen
from .settings import SETTINGS, Settings, setting_options
from .waiting import until_ended

Begin = Callable[..., Coroutine[Deferred[Any], Any, "int | None"]]


@dataclass(frozen=True)
class Session:
    """
    What a command works with.

    :ivar reactor: the reactor that it runs under.
    :ivar settings: where the server and the store are.
    :ivar screen: where results go.
    """

    reactor: Any
    settings: Settings
    screen: Screen

    @asynccontextmanager
    async def manager(
        self,
        *,
        store: bool = False,
        server: bool | None = None,
        secret: bool = False,
        by_blob: bool = False,
    ) -> AsyncIterator[BlobManager]:
        """
        Make a manager, see ``Settings.open_manager``, and close it at the end, come what may.

        :param by_blob: see ``showing_progress``.
        """
        with showing_progress(self.reactor, self.screen, by_blob) as observer:
            manager = self.settings.open_manager(
                self.reactor, observer, store=store, server=server, secret=secret
            )
            try:
                yield manager
            finally:
                await until_ended(manager.close())


class ClientCommand(click.Command):
    """A command whose help lists the settings after its own options."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, in two lists."""
        names = {setting.name for setting in SETTINGS}
        own: list[tuple[str, str]] = []
        settings: list[tuple[str, str]] = []
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                (settings if parameter.name in names else own).append(record)
        for title, records in (("Options", own), ("Settings", settings)):
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


def client_command(name: str) -> Callable[[Begin], click.Command]:
    """
    Make a command of a coroutine function that takes a session, and its options by name.

    It gives an exit code, or None for that of the first failure that the screen was told.
    """

    def decorate(begin: Begin) -> click.Command:
        @functools.wraps(begin)
        def give_work(as_json: bool, quiet: bool, **options: object) -> Work:
            settings = Settings.of(click.get_current_context())
            screen = Screen(as_json, quiet)

            async def work(reactor: Any) -> int:
                return await begin(Session(reactor, settings, screen), **options) or screen.code

            return Work(work)

        decorated = _json_option(_quiet_option(setting_options()(give_work)))
        return click.command(name, cls=ClientCommand)(decorated)

    return decorate


_quiet_option = click.option(
    "-q", "--quiet", is_flag=True, help="Show results and errors only, no progress."
)
_json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Show results and progress as JSON, one object in a line.",
)

namespace_option = click.option(
    "-n",
    "--namespace",
    metavar="NAME",
    default="",
    envvar="BLOBMAN_NAMESPACE",
    show_envvar=True,
    help="The namespace of the blobs.",
)
