"""Tokens in a catalogue in PostgreSQL, which servers may have."""

from __future__ import annotations

from blobman.server.storage.catalogue.postgres.sessions import read_url
from blobman.server.storage.catalogue.postgres.visiting import PostgresTokens
from blobman.server.storage.catalogue.tokens import CatalogueAccounts
from blobman.testing.contracts import AccountsContract

from .case import PostgresCase


class PostgresAccountsTests(AccountsContract, PostgresCase):
    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.tokens = PostgresTokens(read_url(self.url))
        self.accounts = CatalogueAccounts(self.catalogue)
