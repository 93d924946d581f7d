"""What the commands have in common: their options, and the session that they get."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from .options import SETTINGS, json_option, quiet_option, setting_options
from .screen import Screen
from .settings import Settings
from .work import Work

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from blobman import BlobManager

Begin = Callable[..., Coroutine["Deferred[Any]", Any, "int | None"]]


@dataclass(frozen=True)
class Session:
    """
    What a command works with.

    :ivar reactor: the reactor that it runs under.
    :ivar settings: where the server and the store are.
    :ivar screen: where results go.
    :ivar store: whether it is with the local store.
    :ivar secret: whether blobs are going to be sealed or opened.
    """

    reactor: Any
    settings: Settings
    screen: Screen
    store: bool = False
    secret: bool = False

    @asynccontextmanager
    async def manager(
        self,
        *,
        server: bool | None = None,
        by_blob: bool = False,
        external: str | None = None,
    ) -> AsyncIterator[BlobManager]:
        """
        Make a manager, see ``Settings.open_manager``, and close it at the end, come what may.

        :param by_blob: see ``showing_progress``.
        :param external: see ``Settings.open_manager``.
        """
        from .progress import showing_progress
        from .waiting import until_ended

        with showing_progress(self.reactor, self.screen, by_blob) as observer:
            manager = self.settings.open_manager(
                self.reactor,
                observer,
                store=self.store,
                server=server,
                secret=self.secret,
                external=external,
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
            if record is not None and isinstance(parameter, click.Option):
                (settings if parameter.name in names else own).append(record)
        for title, records in (("Options", own), ("Settings", settings)):
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


def client_command(
    name: str,
    *,
    store: bool | Callable[..., bool] = False,
    secret: bool = False,
    check: Callable[..., None] | None = None,
    cls: type[ClientCommand] = ClientCommand,
) -> Callable[[Begin], click.Command]:
    """
    Make a command of a coroutine function that takes a session, and its options by name.

    It gives an exit code, or None for that of the first failure that the screen was told. The user
    is asked for a passphrase, if the keys need one, before the reactor runs.

    :param store: whether it is with the local store; or a function that is given the options.
    :param secret: whether it seals or opens blobs.
    :param check: a function that is given the options, and raises if they can't be, before the
        user is asked for anything.
    :param cls: the class of the command.
    """

    def decorate(begin: Begin) -> click.Command:
        @functools.wraps(begin)
        def give_work(as_json: bool, quiet: bool, **options: object) -> Work:
            if check is not None:
                check(**options)
            with_store = store(**options) if callable(store) else store
            screen = Screen(as_json, quiet)
            settings = Settings.of(click.get_current_context(), screen.warning)
            settings = settings.unlock(store=with_store, secret=secret)

            async def work(reactor: Any) -> int:
                session = Session(reactor, settings, screen, with_store, secret)
                return await begin(session, **options) or screen.code

            return Work(work)

        decorated = json_option(_JSON_HELP)(quiet_option()(setting_options()(give_work)))
        return click.command(name, cls=cls)(decorated)

    return decorate


_JSON_HELP = "Show results and progress as JSON, one object in a line."

namespace_option = click.option(
    "-n",
    "--namespace",
    metavar="NAME",
    default="",
    envvar="BLOBMAN_NAMESPACE",
    show_envvar=True,
    help="The namespace of the blobs.",
)
