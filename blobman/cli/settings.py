"""Where the server and the store are, who the user is, and what opens them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import click
from click.core import ParameterSource

from blobman import BlobManager, ITransferObserver

from .secretfiles import RANDOM_BYTES, read_secret, read_token
from .sizes import read_size

_META = "blobman.settings"

F = TypeVar("F", bound=Callable[..., object])


class Setting(NamedTuple):
    """A setting: an option before or after the command, or a variable ``BLOBMAN_...``."""

    name: str
    metavar: str
    help: str

    @property
    def flag(self) -> str:
        """The option."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """The environment variable."""
        return "BLOBMAN_" + self.name.upper()


SETTINGS = (
    Setting("remote", "URL", "The server's blobs, such as https://host/blobs/."),
    Setting("remote_stream", "URL", "The server's streams, such as https://host/stream/."),
    Setting("user", "NAME", "The user's name on the server, and in the store."),
    Setting("token_file", "FILE", "Holds the token that the server knows the user by."),
    Setting("ca", "FILE", "PEM file of the only authorities to trust for TLS."),
    Setting("store", "DIR", "The folder of the local store."),
    Setting("key_file", "FILE", "Holds the key of the local store."),
    Setting("secret_file", "FILE", "Holds the secret that blobs are sealed with."),
    Setting("limit_rate", "SIZE", "Bytes of blobs in a second, in all, such as 500kB; none: any."),
)

_BY_NAME = {setting.name: setting for setting in SETTINGS}


def setting_options(hidden: bool = False) -> Callable[[F], F]:
    """Give a command an option for each setting. Their values are for ``Settings.of``."""

    def decorate(command: F) -> F:
        for setting in reversed(SETTINGS):
            command = click.option(
                setting.flag,
                setting.name,
                metavar=setting.metavar,
                envvar=setting.variable,
                show_envvar=True,
                help=setting.help,
                hidden=hidden,
                expose_value=False,
                callback=_remember,
            )(command)
        return command

    return decorate


def _remember(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    """Let what is typed after the command win, then what is typed before it, then variables."""
    values = context.meta.setdefault(_META, {})
    name = str(parameter.name)
    typed = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    if value and (typed or name not in values):
        values[name] = value


@dataclass(frozen=True)
class Settings:
    """
    The settings of a command line.

    :ivar values: by name; names of files, not what they hold.
    """

    values: Mapping[str, str]

    @classmethod
    def of(cls, context: click.Context) -> Settings:
        """Take those of the present command line."""
        return cls(dict(context.meta.get(_META, {})))

    def get(self, name: str) -> str | None:
        """Give a setting, or None."""
        return self.values.get(name)

    def need(self, name: str, why: str) -> str:
        """
        Give a setting.

        :param why: what is missing without it.
        :raise click.UsageError: it was not given.
        """
        value = self.get(name)
        if value is None:
            setting = _BY_NAME[name]
            raise click.UsageError(f"{why}: give {setting.flag}, or set {setting.variable}")
        return value

    def open_manager(
        self,
        reactor: Any,
        observer: ITransferObserver | None = None,
        *,
        store: bool = False,
        server: bool | None = None,
        secret: bool = False,
    ) -> BlobManager:
        """
        Make a manager, with what it needs and no more.

        :param store: with the local store.
        :param server: with the server; None for when there is one.
        :param secret: blobs are going to be sealed or opened, if there is a server.
        :raise click.UsageError: a setting is missing or wrong, or a file can't be used.
        """
        user = self.need("user", "no user")
        remote = self._server_url(server)
        folder = self.need("store", "no local store") if store else None
        key = self._read_key() if store else None
        sealing = self._read_secret() if secret and remote else secrets.token_bytes(RANDOM_BYTES)
        token = self._read_token() if remote else None
        authority = self.get("ca") if remote else None
        stream = self.get("remote_stream") if remote else None
        try:
            return BlobManager(
                folder,
                remote,
                key,
                sealing,
                user,
                token,
                authority,
                stream,
                reactor=reactor,
                observer=observer,
                limit_rate=self._limit_rate(),
            )
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        except OSError as error:
            raise click.UsageError(
                f"file of authorities {authority!r}: {error.strerror}"
            ) from error

    def _server_url(self, wanted: bool | None) -> str | None:
        if wanted is None:
            return self.get("remote")
        return self.need("remote", "no server") if wanted else None

    def _limit_rate(self) -> float | None:
        try:
            return read_size(self.get("limit_rate") or "none")
        except ValueError as error:
            raise click.UsageError(f"--limit-rate: {error}") from error

    def _read_key(self) -> bytes:
        return read_secret("key", self.need("key_file", "no key for the local store"))

    def _read_token(self) -> str:
        return read_token(self.need("token_file", "no token for the server"))

    def _read_secret(self) -> bytes:
        return read_secret("secret", self.need("secret_file", "no secret to seal blobs with"))
