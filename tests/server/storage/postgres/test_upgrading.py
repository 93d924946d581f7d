"""A catalogue that is made, or brought to the present version."""

from __future__ import annotations

from twisted.internet.defer import gatherResults
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from blobman.errors import StoreError
from blobman.server.storage.catalogue.postgres import schema, upgrading
from blobman.server.storage.catalogue.postgres.sessions import connect, read_url
from blobman.server.storage.catalogue.postgres.upgrading import check_version, upgrade
from blobman.server.storage.catalogue.postgres.visiting import asking

from ...postgres import make_database

NEXT = ("CREATE TABLE added (one bigint)", "INSERT INTO added VALUES (1)")


class UpgradingTests(TestCase):
    def setUp(self) -> None:
        self.conninfo = read_url(make_database(self))

    def versions(self) -> list[int]:
        with connect(self.conninfo) as session:
            rows = session.execute("SELECT version FROM versions ORDER BY version").fetchall()
            return [version for (version,) in rows]

    def add_an_upgrade(self, *statements: str) -> None:
        self.patch(upgrading, "UPGRADES", (*schema.UPGRADES, statements))
        self.patch(upgrading, "VERSION", schema.VERSION + 1)

    async def test_many_start_at_once(self) -> None:
        await gatherResults([deferToThread(upgrade, self.conninfo) for _ in range(8)])
        self.assertEqual(self.versions(), list(range(1, schema.VERSION + 1)))
        self.add_an_upgrade(*NEXT)
        await gatherResults([deferToThread(upgrade, self.conninfo) for _ in range(8)])
        self.assertEqual(self.versions(), list(range(1, schema.VERSION + 2)))

    def test_one_that_fails_changes_nothing(self) -> None:
        upgrade(self.conninfo)
        self.add_an_upgrade(*NEXT, "SELECT 1 / 0")
        self.assertRaises(StoreError, upgrade, self.conninfo)
        self.assertEqual(self.versions()[-1], schema.VERSION)
        self.add_an_upgrade(*NEXT)
        upgrade(self.conninfo)
        self.assertEqual(self.versions()[-1], schema.VERSION + 1)

    def test_one_of_a_later_version(self) -> None:
        upgrade(self.conninfo)
        with connect(self.conninfo) as session:
            session.execute("INSERT INTO versions VALUES (1000)")
        error = self.assertRaises(StoreError, upgrade, self.conninfo)
        self.assertIn("later version", str(error))

    def test_one_of_an_earlier_version(self) -> None:
        """A command does not change it under the servers of that version."""
        upgrade(self.conninfo)
        with connect(self.conninfo) as session:
            session.execute("UPDATE versions SET version = 0")
            self.assertEqual(check_version(session), 0)
        with self.assertRaises(StoreError), asking(self.conninfo):
            pass

    def test_text_is_sorted_by_its_bytes(self) -> None:
        """Whatever the database's language is."""
        upgrade(self.conninfo)
        with connect(self.conninfo) as session:
            found = session.execute(
                "SELECT table_name, column_name FROM information_schema.columns"
                " WHERE table_schema = 'blobman' AND data_type = 'text'"
                " AND column_name IN ('user_name', 'namespace', 'key')"
                " AND collation_name IS DISTINCT FROM 'C'"
            ).fetchall()
        self.assertEqual(found, [])
