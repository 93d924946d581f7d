"""
Catalogues as they are named on a command line: the only place that knows their URLs.

- ``sqlite:DIR``, or a folder alone: the data folder of one server;
- ``postgresql://...``: a database, as libpq understands it. Needs ``blobman[scale]``.
"""

from __future__ import annotations

import errno
import os
import re
from contextlib import AbstractContextManager
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlencode

from ...errors import StoreError
from ..accounts.interface import ITokens, Quotas, Usage
from ..storage.backends import OWN_FOLDER
from ..storage.catalogue.interface import ICatalogue
from ..storage.catalogue.sqlite import SQLiteCatalogue
from ..storage.catalogue.tokens import CatalogueTokens
from ..storage.catalogue.visiting import asking, begin_history, changing, is_made
from ..storage.soledad.adoption import is_older

FORMS = "sqlite:DIR, with the server's data folder, or postgresql://HOST/DATABASE"
"""What a catalogue is called."""

_POSTGRES = re.compile(r"postgres(ql)?://", re.IGNORECASE)
_SHOWN = {"host", "hostaddr", "port", "user", "dbname", "service", "sslmode", "sslrootcert"}


class Questions(Protocol):
    """What an administrator asks."""

    def usage(self) -> list[Usage]:
        """Tell what users keep."""
        ...

    def quotas(self) -> Quotas:
        """Tell who may keep how much."""
        ...


class Changes(Protocol):
    """What an administrator changes."""

    def set_quota(self, user: str | None, size: int | None) -> None:
        """Set a quota."""
        ...

    def unset_quota(self, user: str) -> None:
        """Remove a quota."""
        ...


class Place(Protocol):
    """
    Where a catalogue is. A server may have it.

    :ivar shown: its URL, without a password.
    """

    shown: str

    def make(self, reactor: Any, linger: int) -> ICatalogue:
        """
        Make the catalogue, for a server.

        :param linger: seconds for which the payloads of deleted blobs are kept.
        """
        ...

    def asking(self) -> AbstractContextManager[Questions]:
        """Ask it something. Raise ``StoreError`` if there is none, or it can't be read."""
        ...

    def changing(self) -> AbstractContextManager[Changes]:
        """Change something in it; it is made if need be. Raise ``StoreError`` if that fails."""
        ...

    def begin_history(self) -> int:
        """
        Take it for the right one, after it was put back; see ``administration.restored``.

        :return: how many changes it has.
        """
        ...

    def tokens(self) -> ITokens:
        """Give the tokens in it; see ``administration.tokens_of``."""
        ...


class FolderPlace:
    """
    A catalogue in a data folder.

    :param data: the data folder.
    """

    def __init__(self, data: str) -> None:
        self.data = os.path.abspath(data)
        self.shown = f"sqlite:{data}"
        self._folder = os.path.join(self.data, OWN_FOLDER)

    def make(self, reactor: Any, linger: int) -> ICatalogue:
        """Make the catalogue, of payloads that are elsewhere; see :class:`Place`."""
        return SQLiteCatalogue(self._folder, reactor, adopt=self._refuse_older, linger=linger)

    def asking(self) -> AbstractContextManager[Questions]:
        """Ask it something; see :class:`Place`."""
        return asking(self._folder)

    def changing(self) -> AbstractContextManager[Changes]:
        """Change something in it; see :class:`Place`."""
        return changing(self._folder, self._refuse_older)

    def begin_history(self) -> int:
        """Take it for the right one; see :class:`Place`."""
        return begin_history(self._folder)

    def tokens(self) -> ITokens:
        """
        Give the tokens in it; see :class:`Place`.

        :raise FileNotFoundError: the folder that the data folder is in is missing.
        """
        above = os.path.dirname(self.data)
        if not os.path.isdir(above):
            raise FileNotFoundError(errno.ENOENT, "the folder is missing", above)
        return CatalogueTokens(self._folder, self._refuse_older)

    def is_used(self) -> bool:
        """Tell whether blobs have been kept in the folder, by this or by an earlier version."""
        return os.path.isdir(self.data) and (is_made(self._folder) or is_older(self.data))

    def _refuse_older(self, _: object) -> None:
        if is_older(self.data):
            raise StoreError(
                f"{self.data} has blobs, but no catalogue yet: start the server, or use blobman "
                "server adopt, to have it taken over"
            )


class DatabasePlace:
    """
    A catalogue in a database of PostgreSQL.

    :param url: the database's, ``postgresql://...``.
    :raise ValueError: it is none, or ``blobman[scale]`` is not installed.
    """

    def __init__(self, url: str) -> None:
        try:
            from ..storage.catalogue.postgres.sessions import read_url
        except ImportError as error:
            raise ValueError(
                "a catalogue in PostgreSQL needs more: pip install 'blobman[scale]'"
            ) from error
        rest = url.partition(":")[2]
        self._conninfo = read_url(f"postgresql:{rest}")
        self.shown = without_password(rest)

    def make(self, reactor: Any, linger: int) -> ICatalogue:
        """Make the catalogue; see :class:`Place`."""
        from ..storage.catalogue.postgres.catalogue import PostgresCatalogue

        return PostgresCatalogue(self._conninfo, reactor, linger=linger)

    def asking(self) -> AbstractContextManager[Questions]:
        """Ask it something; see :class:`Place`."""
        from ..storage.catalogue.postgres import visiting

        return visiting.asking(self._conninfo)

    def changing(self) -> AbstractContextManager[Changes]:
        """Change something in it; see :class:`Place`."""
        from ..storage.catalogue.postgres import visiting

        return visiting.changing(self._conninfo)

    def begin_history(self) -> int:
        """Take it for the right one; see :class:`Place`."""
        from ..storage.catalogue.postgres import visiting

        return visiting.begin_history(self._conninfo)

    def tokens(self) -> ITokens:
        """Give the tokens in it; see :class:`Place`."""
        from ..storage.catalogue.postgres.visiting import PostgresTokens

        return PostgresTokens(self._conninfo)


def place_of(catalogue: str) -> FolderPlace | DatabasePlace:
    """
    Find a catalogue.

    :param catalogue: its URL, or a data folder.
    :raise ValueError: it is no such URL. What is said does not show it: it may have a password.
    """
    if _POSTGRES.match(catalogue):
        return DatabasePlace(catalogue)
    scheme, colon, folder = catalogue.partition(":")
    if not colon or os.sep in scheme:
        folder = catalogue
    elif scheme.lower() != "sqlite":
        raise ValueError(f"a catalogue must be {FORMS}, and {scheme}: is not supported")
    if not folder:
        raise ValueError(f"a catalogue must be {FORMS}")
    return FolderPlace(folder)


def without_password(rest: str) -> str:
    """
    Write the URL of a database without what need not be seen.

    :param rest: what follows its scheme.
    """
    before, _, rest = rest.removeprefix("//").rpartition("@")
    if "?" in before:
        # A password may be on either side.
        return "postgresql://"
    address, _, query = rest.partition("?")
    user = before.partition(":")[0]
    named = f"{user}@" if re.fullmatch(r"[\w.%+-]+", user) else ""
    shown = urlencode([it for it in parse_qsl(query) if it[0] in _SHOWN], safe="/")
    return f"postgresql://{named}{address}{shown and '?'}{shown}"
