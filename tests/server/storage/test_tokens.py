"""Tokens in a catalogue, which a server may have."""

from __future__ import annotations

import hashlib
import os
from contextlib import closing

import apsw
from twisted.trial.unittest import SynchronousTestCase, TestCase

from blobman.errors import StoreError
from blobman.server.accounts.interface import Quotas
from blobman.server.storage.catalogue.connection import connect, connect_copy
from blobman.server.storage.catalogue.folder import CatalogueFolder
from blobman.server.storage.catalogue.questions import Questions
from blobman.server.storage.catalogue.salvage import rebuild
from blobman.server.storage.catalogue.schema import UPGRADES, VERSION
from blobman.server.storage.catalogue.sqlite import SQLiteCatalogue
from blobman.server.storage.catalogue.tokens import CatalogueAccounts, CatalogueTokens
from blobman.server.storage.catalogue.visiting import alone, asking, version
from blobman.server.storage.interface import UnavailableError
from blobman.sqlite import transaction
from blobman.testing.contracts import AccountsContract

CACHE = 100_000


class CatalogueAccountsTests(AccountsContract, TestCase):
    """The server has the catalogue open all the time."""

    async def setUp(self) -> None:  # type: ignore[override]
        self.folder = self.mktemp()
        self.tokens = CatalogueTokens(self.folder)
        self.catalogue = SQLiteCatalogue(self.folder)
        await self.catalogue.open()
        self.addCleanup(lambda: self.catalogue.close())
        self.accounts = CatalogueAccounts(self.catalogue)

    async def test_while_the_folder_is_gone(self) -> None:
        token = self.tokens.add("alice")
        await self.assert_good("alice", token)
        os.rename(self.folder, self.folder + "-away")
        await self.assertFailure(self.accounts.check("alice", token), UnavailableError)
        os.rename(self.folder + "-away", self.folder)
        await self.assert_good("alice", token)

    async def test_a_token_survives_the_server(self) -> None:
        token = self.tokens.add("alice")
        await self.catalogue.close()
        await self.catalogue.open()
        await self.assert_good("alice", token)


class WithoutServerTests(TestCase):
    def setUp(self) -> None:
        self.folder = self.mktemp()
        self.tokens = CatalogueTokens(self.folder, now=lambda: 1000.5)

    async def test_before_the_first_start(self) -> None:
        self.assertEqual((self.tokens.list(), self.tokens.revoke("alice")), ([], 0))
        self.assertRaises(ValueError, self.tokens.add, "a b")
        self.assertFalse(os.path.exists(self.folder))
        token = self.tokens.add("alice", "phone")
        catalogue = SQLiteCatalogue(self.folder)
        await catalogue.open()
        self.addCleanup(catalogue.close)
        self.assertIs(await CatalogueAccounts(catalogue).check("alice", token), True)

    def test_what_is_kept(self) -> None:
        token = self.tokens.add("alice", "phone")
        [kept] = self.tokens.list()
        self.assertEqual((kept.created, kept.label), (1000, "phone"))
        self.assertEqual(kept.digest, hashlib.sha256(token.encode()).hexdigest())
        with closing(connect(CatalogueFolder(self.folder).path, CACHE)) as connection:
            rows = connection.execute("SELECT * FROM tokens").fetchall()
        self.assertNotIn(token, str(rows))

    def test_a_folder_that_can_not_be_read(self) -> None:
        with open(self.folder, "w"):
            pass
        tokens = CatalogueTokens(os.path.join(self.folder, ".blobman"))
        self.assertRaises(StoreError, tokens.list)
        self.assertRaises(StoreError, tokens.add, "alice")
        self.assertRaises(StoreError, tokens.revoke, "alice")


class VersionTests(SynchronousTestCase):
    """A catalogue of the version before there were tokens in it. It has a quota."""

    def setUp(self) -> None:
        self.folder = self.mktemp()
        self.tokens = CatalogueTokens(self.folder)
        os.mkdir(self.folder)
        self.path = CatalogueFolder(self.folder).path
        with self.connected() as connection, transaction(connection):
            for statement in UPGRADES[0]:
                connection.execute(statement)
            connection.execute("INSERT INTO quotas VALUES ('alice', 5000)")
            connection.pragma("user_version", 1)

    def connected(self) -> closing[apsw.Connection]:
        return closing(connect(self.path, CACHE))

    def quotas(self) -> Quotas:
        with asking(self.folder) as questions:
            return questions.quotas()

    def test_looking_changes_nothing(self) -> None:
        self.assertEqual(self.tokens.list(), [])
        self.assertEqual(self.tokens.revoke("alice"), 0)
        self.assertEqual(version(self.folder), 1)

    def test_the_first_token_upgrades_it(self) -> None:
        self.tokens.add("alice")
        self.assertEqual(version(self.folder), VERSION)
        self.assertEqual(len(self.tokens.list("alice")), 1)
        self.assertEqual(self.quotas(), Quotas(None, {"alice": 5000}))

    def test_not_while_a_server_of_that_version_runs(self) -> None:
        with alone(self.folder):
            error = self.assertRaises(StoreError, self.tokens.add, "alice")
            self.assertIn("restart it", str(error))
        self.assertEqual(version(self.folder), 1)

    def test_a_later_version(self) -> None:
        with self.connected() as connection:
            connection.pragma("user_version", VERSION + 1)
        for call in (lambda: self.tokens.add("alice"), self.tokens.list, self.quotas):
            self.assertIn("later version", str(self.assertRaises(StoreError, call)))

    def test_it_is_made_anew_by_a_repair(self) -> None:
        """With tokens, and without a table for them."""
        for number in range(3):
            draft = f"{self.path}-{number}"
            with self.connected() as connection:
                rebuild(connection, draft, 0)
            with closing(connect_copy(draft)) as made:
                self.assertEqual(made.pragma("user_version"), VERSION)
                questions = Questions(made)
                self.assertEqual(questions.tokens(None), self.tokens.list())
                self.assertEqual(questions.quotas(), self.quotas())
            self.tokens.add("alice")
