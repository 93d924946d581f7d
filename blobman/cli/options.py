"""The settings that a command line can have: options, and variables ``BLOBMAN_...``."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any, NamedTuple, TypeVar

import click
from click.core import ParameterSource

from .paths import complete_file, complete_folder

_META = "blobman.settings"
_FLAGS = "blobman.flags"

_COMPLETIONS = {"FILE": complete_file, "DIR": complete_folder}

F = TypeVar("F", bound=Callable[..., object])


class Setting(NamedTuple):
    """
    A setting: an option before or after the command, or a variable ``BLOBMAN_...``.

    :ivar metavar: what its value is; empty for a switch, which has none.
    """

    name: str
    metavar: str
    help: str

    @property
    def flag(self) -> str:
        """The option."""
        return "--" + self.name.replace("_", "-")

    @property
    def is_path(self) -> bool:
        """Whether it names a file or a folder."""
        return self.metavar in ("FILE", "DIR")

    @property
    def is_switch(self) -> bool:
        """Whether it is given or not, and that is all."""
        return not self.metavar

    @property
    def variable(self) -> str:
        """The environment variable."""
        return "BLOBMAN_" + self.name.upper()


SETTINGS = (
    Setting("config", "DIR", "The folder that blobman init makes."),
    Setting("remote", "URL", "The server's blobs, such as https://host/blobs/."),
    Setting("remote_stream", "URL", "The server's streams, such as https://host/stream/."),
    Setting("insecure", "", "Take http to other machines, too: others can see the token then."),
    Setting("user", "NAME", "The user's name on the server, and in the store."),
    Setting("token_file", "FILE", "Holds the token that the server knows the user by."),
    Setting("ca", "FILE", "PEM file of the only authorities to trust for TLS."),
    Setting("store", "DIR", "The folder of the local store."),
    Setting("key_file", "FILE", "Holds the key of the local store."),
    Setting("secret_file", "FILE", "Holds the secret that blobs are sealed with."),
    Setting("passphrase_file", "FILE", "Holds the passphrase, if nobody is there to be asked."),
    Setting("external_namespaces", "NAMES", "Where others deliver blobs, with commas between."),
    Setting("limit_rate", "SIZE", "Bytes of blobs in a second, in all, such as 500kB; none: any."),
)

ON = "yes"
"""The value of a switch that was given."""

BY_NAME = {setting.name: setting for setting in SETTINGS}


def setting_options(hidden: bool = False, names: Container[str] = BY_NAME) -> Callable[[F], F]:
    """
    Give a command an option for each setting. Their values are for ``given_settings``.

    :param names: of the settings, if not all.
    """

    def decorate(command: F) -> F:
        for setting in reversed([it for it in SETTINGS if it.name in names]):
            command = click.option(
                setting.flag,
                setting.name,
                metavar=setting.metavar or None,
                is_flag=setting.is_switch,
                shell_complete=_COMPLETIONS.get(setting.metavar),
                envvar=setting.variable,
                show_envvar=True,
                help=setting.help,
                hidden=hidden,
                expose_value=False,
                callback=_remember,
            )(command)
        return command

    return decorate


def is_on(value: str | None) -> bool:
    """
    Read the value of a switch.

    :raise click.UsageError: it is neither yes nor no.
    """
    return bool(click.BOOL.convert(value or "no", None, None))


class _Given(NamedTuple):
    value: str
    typed: bool


def _remember(context: click.Context, parameter: click.Parameter, value: str | bool | None) -> None:
    """Let what is typed after the command win, then what is typed before it, then variables."""
    values = context.meta.setdefault(_META, {})
    name = str(parameter.name)
    typed = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    if value and (typed or name not in values):
        values[name] = _Given(ON if value is True else str(value), typed)


def given_settings(context: click.Context, variables: bool = True) -> dict[str, str]:
    """
    Give the settings of the present command line.

    :param variables: and those of the variables.
    """
    given: dict[str, _Given] = context.meta.get(_META, {})
    return {name: it.value for name, it in given.items() if it.typed or variables}


def json_option(help: str = "As JSON, one object in a line.", **others: Any) -> Callable[[F], F]:
    """Give a command ``--json``, which may come before the command, too."""
    return click.option(
        "--json", "as_json", is_flag=True, help=help, callback=_raise_flag, **others
    )


def quiet_option(**others: Any) -> Callable[[F], F]:
    """Give a command ``--quiet``, which may come before the command, too."""
    text = "Show results and errors only, no progress."
    return click.option("-q", "--quiet", is_flag=True, help=text, callback=_raise_flag, **others)


def _raise_flag(context: click.Context, parameter: click.Parameter, value: bool) -> bool:
    flags: set[str | None] = context.meta.setdefault(_FLAGS, set())
    if value:
        flags.add(parameter.name)
    return parameter.name in flags
