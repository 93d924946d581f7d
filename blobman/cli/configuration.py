"""
What ``blobman init`` leaves behind: a folder with settings, a token, authorities and keys.

``settings.json`` holds values of the settings by name. In it, paths are relative to the folder.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from .folders import configuration_folder, data_folder
from .keysfile import MAX_SIZE, KeysFile, KeysFileError
from .options import BY_NAME
from .secretfiles import replace_file

FORMAT = 1
_MAX_SETTINGS = 64 * 1024
_NOT_KEPT = ("config",)


class Configuration:
    """
    The folder, which may not be there.

    :ivar path: absolute.
    """

    def __init__(self, given: str | None) -> None:
        """
        Nothing is read yet.

        :param given: the folder; None for the platform's.
        :raise NoHomeError: that is in the user's home, which nobody knows.
        """
        self.is_default = given is None
        self.path = configuration_folder() if given is None else Path(given).absolute()
        self.settings_file = self.path / "settings.json"
        self.keys_file = self.path / "keys.json"
        self.token_file = self.path / "token"
        self.ca_file = self.path / "ca.pem"

    @property
    def files(self) -> tuple[Path, ...]:
        """All that it consists of."""
        return self.settings_file, self.keys_file, self.token_file, self.ca_file

    @property
    def default_store(self) -> str:
        """
        The folder of the local store, unless the user has another wish.

        :raise NoHomeError: it would be in the user's home, which nobody knows.
        """
        if not self.is_default or sys.platform == "darwin":
            return str(self.path / "store")
        return str(data_folder())

    def read_settings(self) -> dict[str, str] | None:
        """
        Read the settings; None if there are none.

        :raise click.UsageError: the file can't be read, or is wrong.
        """
        content = _read(self.settings_file, _MAX_SETTINGS)
        if content is None:
            return None
        try:
            fields = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise click.UsageError(f"{self.settings_file}: it is not JSON: {error}") from None
        if not isinstance(fields, dict) or fields.pop("format", None) != FORMAT:
            raise click.UsageError(f"{self.settings_file}: it has no format {FORMAT}")
        for name, value in fields.items():
            if name not in BY_NAME or name in _NOT_KEPT:
                raise click.UsageError(f"{self.settings_file}: there is no setting {name!r}")
            if not isinstance(value, str):
                raise click.UsageError(f"{self.settings_file}: {name} must be text in quotes")
        return {name: self._absolute(name, it) for name, it in fields.items() if it}

    def write_settings(self, values: Mapping[str, str]) -> None:
        """
        Write the settings, in place of those that are there.

        :raise OSError: they can't be written; nothing has changed.
        """
        fields = {name: self._relative(name, values[name]) for name in BY_NAME if name in values}
        replace_file(self.settings_file, json.dumps({"format": FORMAT, **fields}, indent=2) + "\n")

    def read_keys(self) -> KeysFile | None:
        """
        Read the file of the keys; None if there is none.

        :raise click.UsageError: it can't be read, or is damaged.
        """
        content = _read(self.keys_file, MAX_SIZE)
        if content is None:
            return None
        try:
            return KeysFile.decode(content)
        except KeysFileError as error:
            raise click.UsageError(f"{self.keys_file}: {error}") from error

    def write_keys(self, keys: KeysFile) -> None:
        """
        Write the file of the keys, in place of the one that is there.

        :raise OSError: it can't be written; nothing has changed.
        """
        replace_file(self.keys_file, keys.encode() + "\n")

    def _absolute(self, name: str, value: str) -> str:
        return str(self.path / value) if BY_NAME[name].is_path else value

    def _relative(self, name: str, value: str) -> str:
        if not BY_NAME[name].is_path:
            return value
        path = self.path / value
        return str(path.relative_to(self.path) if path.is_relative_to(self.path) else path)


def _read(path: Path, limit: int) -> bytes | None:
    try:
        with open(path, "rb") as file:
            content = file.read(limit + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise click.UsageError(f"{path}: {error.strerror}") from error
    if len(content) > limit:
        raise click.UsageError(f"{path}: it is too large: over {limit} bytes")
    return content
