"""What PostgreSQL reads to answer a question: no more than is asked for, whatever it guesses."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import TestCase

from blobman.model import Flags
from blobman.server.storage.catalogue.postgres.questions import Questions
from blobman.server.storage.catalogue.postgres.sessions import connect, read_url
from blobman.server.storage.catalogue.postgres.upgrading import upgrade
from blobman.testing.contracts.support import name, query

from ...postgres import make_database

WHOLE = ("Seq Scan on blobs", "Seq Scan on tombstones", "Seq Scan on places", "Bitmap")
"""Steps of a plan that read all of a namespace, or of a table."""


COLUMNS = "place, id, number, date, size, tag, digest, flags, reused, body"


class Explained(Questions):
    """Remembers the plans of what it is asked."""

    def __init__(self, session: Any) -> None:
        super().__init__(session)
        self.plans: list[str] = []

    def _ask(self, statement: str, values: Any = ()) -> list[tuple[Any, ...]]:
        rows = self._session.execute(b"EXPLAIN " + statement.encode(), values).fetchall()
        self.plans.append("\n".join(line for (line,) in rows))
        return super()._ask(statement, values)


class PlansTests(TestCase):
    """The tables are filled in one go, and there are no statistics of them yet."""

    def setUp(self) -> None:
        conninfo = read_url(make_database(self))
        upgrade(conninfo)
        session = connect(conninfo)
        self.addCleanup(session.close)
        rows = "FROM generate_series(1, 20000) AS n"
        values = "md5(n::text), n, n, 1, '', '', repeat('1', n % 2), n % 7 = 0, ''"
        for statement in (
            "INSERT INTO accounts (user_name) VALUES ('alice')",
            "INSERT INTO places (account, namespace) VALUES (1, 'default')",
            f"INSERT INTO blobs ({COLUMNS}) SELECT 1, {values} {rows}",
            f"INSERT INTO tombstones SELECT 1, n::text, n, n, '' {rows}",
        ):
            session.execute(statement.encode())
        self.questions = Explained(session)

    def check(self, *others: str) -> None:
        self.assertTrue(self.questions.plans)
        for plan in self.questions.plans:
            for step in (*WHOLE, *others):
                self.assertNotIn(step, plan)

    def test_pages_and_changes(self) -> None:
        for order in (None, "date", "-date"):
            for fields in ({}, {"deleted": True}, {"flag": Flags.PENDING}):
                for after in (None, (10_000, "5")):
                    asked = query(order_by=order, **fields)
                    page = self.questions.page("alice", asked, after, 50)
                    self.assertEqual(len(page.ids), 50)
        self.assertEqual(len(self.questions.changes("alice", "default", 10_000, 100)), 100)
        self.check("Sort  (cost")

    def test_other_questions(self) -> None:
        self.questions.find([name("a"), name("b")], 1000)
        self.questions.count("alice", query())
        self.questions.count("alice", query(flag=Flags.PENDING))
        self.questions.history("alice", "default")
        self.questions.namespaces("alice")
        self.check()
