"""The tokens in a catalogue: for the server that has it, and for an administrator beside it."""

from __future__ import annotations

import time
from collections.abc import Callable

from twisted.internet.defer import Deferred
from zope.interface import implementer

from ....sqlite import ask
from ...accounts.interface import IAccounts, ITokens, Tokens
from ...accounts.tokens import check_is_free, is_one_of, new_token
from .connection import Adopt
from .interface import ICatalogue
from .questions import Questions
from .visiting import is_made, visiting, writing


@implementer(IAccounts)
class CatalogueAccounts:
    """
    The users that are known by the tokens in a catalogue.

    :param catalogue: is open when it is asked.
    """

    def __init__(self, catalogue: ICatalogue) -> None:
        self._catalogue = catalogue

    def check(self, user: str, token: str) -> Deferred[bool]:
        """Tell whether a token is one of a user's; see :class:`.IAccounts`."""
        known = self._catalogue.tokens(user)
        return known.addCallback(lambda found: is_one_of(token, [it.digest for it in found]))


@implementer(ITokens)
class CatalogueTokens:
    """
    The tokens in a catalogue that a server may have.

    :param folder: the catalogue's folder, which is made with the first token, if need be.
    :param adopt: called if the catalogue is made; see :class:`.sqlite.SQLiteCatalogue`.
    :param now: gives seconds since the epoch.
    """

    def __init__(
        self, folder: str, adopt: Adopt | None = None, now: Callable[[], float] = time.time
    ) -> None:
        self._folder = folder
        self._adopt = adopt
        self._now = now

    def add(self, user: str, label: str = "") -> str:
        """Make a token; see :class:`.ITokens`."""
        token, info = new_token(user, label, self._now())
        with writing(self._folder, self._adopt) as connection:
            check_is_free(label, Questions(connection).tokens(user))
            connection.execute(
                "INSERT INTO tokens (user, id, created, digest, label) VALUES (?, ?, ?, ?, ?)",
                (user, info.token_id, info.created, info.digest, label),
            )
        return token

    def list(self, user: str | None = None) -> Tokens:
        """List tokens; see :class:`.ITokens`."""
        if not is_made(self._folder):
            return []
        with visiting(self._folder) as connection:
            # One of an earlier version, which no server has opened since, has none.
            has_tokens = connection.table_exists("main", "tokens")
            return Questions(connection).tokens(user) if has_tokens else []

    def revoke(self, user: str, name: str | None = None) -> int:
        """Forget tokens; see :class:`.ITokens`."""
        if not self.list(user):
            return 0
        with writing(self._folder) as connection:
            forgotten = ask(
                connection,
                "DELETE FROM tokens WHERE user = ?1"
                " AND (?2 IS NULL OR id = ?2 OR (label = ?2 AND label <> '')) RETURNING token",
                (user, name),
            )
        return len(forgotten)
