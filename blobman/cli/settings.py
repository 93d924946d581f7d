"""Where the server and the store are, who the user is, and what opens them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import click

from .configuration import Configuration
from .folders import NoHomeError
from .locks import open_keys
from .options import BY_NAME, given_settings, is_on
from .secretfiles import RANDOM_BYTES, read_secret, read_token
from .seeds import Keys, derive_keys
from .sizes import read_rate
from .terminal import tell

if TYPE_CHECKING:
    from blobman import BlobManager, ITransferObserver


@dataclass(frozen=True)
class Settings:
    """
    The settings of a command line.

    :ivar values: by name; names of files, not what they hold.
    :ivar configuration: None if there can be none, as nobody knows the user's home.
    :ivar keys: what the configuration has for settings that name no file; None while it is locked.
    :ivar remark: is told of files with secrets that others can read, too.
    """

    values: Mapping[str, str]
    configuration: Configuration | None
    keys: Keys | None = field(default=None, repr=False)
    remark: Callable[[str], object] = tell

    @classmethod
    def of(cls, context: click.Context, remark: Callable[[str], object] = tell) -> Settings:
        """
        Take those of the present command line, then variables, then the configuration.

        :raise click.UsageError: the configuration can't be read, or is not where it is said to be.
        """
        given = given_settings(context)
        try:
            configuration = Configuration(given.get("config"))
        except NoHomeError:
            return cls(given, None, remark=remark)
        kept = configuration.read_settings()
        if kept is None and not configuration.is_default:
            path = configuration.path
            raise click.UsageError(
                f"there are no settings in {path}: blobman --config {path} init makes them"
            )
        return cls({**(kept or {}), **given}, configuration, remark=remark)

    def unlock(self, *, store: bool, secret: bool) -> Settings:
        """
        Open the file of the keys, if that is what has the keys that are needed. Blocks.

        :param store: the key of the local store is needed.
        :param secret: the secret is needed, if there is a server.
        :raise WrongPassphraseError: the passphrase is wrong.
        :raise click.ClickException: there is none to be had, or the file is damaged.
        """
        needs_key = store and not self.get("key_file")
        needs_secret = secret and self.get("remote") and not self.get("secret_file")
        if not (needs_key or needs_secret):
            return self
        file = None if self.configuration is None else self.configuration.read_keys()
        if file is None:
            return self
        seed = open_keys(file, self.get("passphrase_file"), self.remark)
        return replace(self, keys=derive_keys(seed))

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
            setting = BY_NAME[name]
            raise click.UsageError(
                f"{why}: give {setting.flag}, or set {setting.variable}, or run blobman init"
            )
        return value

    def open_manager(
        self,
        reactor: Any,
        observer: ITransferObserver | None = None,
        *,
        store: bool = False,
        server: bool | None = None,
        secret: bool = False,
        external: str | None = None,
    ) -> BlobManager:
        """
        Make a manager, with what it needs and no more.

        :param store: with the local store.
        :param server: with the server; None for when there is one.
        :param secret: blobs are going to be sealed or opened, if there is a server.
        :param external: a namespace where blobs that others sealed are expected this time.
        :raise click.UsageError: a setting is missing or wrong, or a file can't be used.
        """
        from blobman import BlobManager

        user = self.need("user", "no user")
        remote = self._server_url(server)
        folder = self.need("store", "no local store") if store else None
        key = self.read_key() if store else None
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
                limit_rate=read_rate(self.get("limit_rate") or "none"),
                allow_insecure=is_on(self.get("insecure")),
                external_namespaces=self.external_namespaces() | _only(external),
            )
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        except OSError as error:
            raise click.UsageError(
                f"file of authorities {authority!r}: {error.strerror}"
            ) from error

    def external_namespaces(self) -> set[str]:
        """Give the namespaces where blobs that others sealed are expected; none need be one."""
        return {name for name in (self.get("external_namespaces") or "").split(",") if name}

    def _server_url(self, wanted: bool | None) -> str | None:
        if wanted is None:
            return self.get("remote")
        return self.need("remote", "no server") if wanted else None

    def read_key(self) -> bytes:
        """
        Read the key of the local store.

        :raise click.UsageError: there is none, or its file can't be used.
        """
        if self.keys is not None and not self.get("key_file"):
            return self.keys.store
        path = self.need("key_file", "no key for the local store")
        return read_secret("key", path, self.remark)

    def _read_token(self) -> str:
        return read_token(self.need("token_file", "no token for the server"), self.remark)

    def _read_secret(self) -> bytes:
        if self.keys is not None and not self.get("secret_file"):
            return self.keys.secret
        path = self.need("secret_file", "no secret to seal blobs with")
        return read_secret("secret", path, self.remark)


def _only(namespace: str | None) -> set[str]:
    return set() if namespace is None else {namespace}
