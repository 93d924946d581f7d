"""Which databases a catalogue can be in, and which are refused."""

from __future__ import annotations

import psycopg
from twisted.trial.unittest import TestCase

from blobman.errors import StoreError
from blobman.server.storage.catalogue.postgres import sessions
from blobman.server.storage.catalogue.postgres.catalogue import PostgresCatalogue
from blobman.server.storage.catalogue.postgres.pool import ATTEMPTS, Pool
from blobman.server.storage.catalogue.postgres.sessions import Session, connect, read_url
from blobman.server.storage.interface import DamagedError, UnavailableError
from blobman.testing.contracts.catalogue_case import small
from blobman.testing.contracts.support import name

from ...postgres import Cluster, make_cluster, make_database, shared_cluster


class RefusedTests(TestCase):
    def setUp(self) -> None:
        self.url = make_database(self)
        self.database = self.url.partition("@/")[2].partition("?")[0]

    def refused(self, kind: type[StoreError] = StoreError) -> str:
        error = self.assertRaises(kind, connect, read_url(self.url))
        return str(error)

    def set(self, name: str, value: str) -> None:
        shared_cluster().run(f"ALTER DATABASE {self.database} SET {name} = {value}")

    def test_commits_that_are_not_durable(self) -> None:
        for value in ("off", "local", "remote_write"):
            self.set("synchronous_commit", value)
            self.assertIn(f"synchronous_commit has to be on, and is {value}", self.refused())
        self.set("synchronous_commit", "remote_apply")
        connect(read_url(self.url)).close()

    def test_one_that_can_only_be_read(self) -> None:
        self.set("default_transaction_read_only", "on")
        self.refused(UnavailableError)

    def test_one_that_can_not_keep_any_label(self) -> None:
        database = self.database + "_ascii"
        shared_cluster().run(
            f"CREATE DATABASE {database} ENCODING SQL_ASCII TEMPLATE template0 LC_COLLATE 'C'"
        )
        self.addCleanup(shared_cluster().drop_database, database)
        self.url = shared_cluster().url(database)
        self.assertIn("encoding has to be UTF8", self.refused())

    def test_what_the_database_would_do_by_default(self) -> None:
        """Numbers are drawn under locks: a snapshot from before the lock would not do."""
        self.set("default_transaction_isolation", "'serializable'")
        self.set("search_path", "public")
        self.set("statement_timeout", "0")
        with connect(read_url(self.url)) as session:
            for setting, value in (
                ("transaction_isolation", "read committed"),
                ("search_path", "blobman"),
                ("statement_timeout", "10s"),
            ):
                self.assertEqual(session.execute(f"SHOW {setting}".encode()).fetchone(), (value,))

    def test_one_that_does_not_sync(self) -> None:
        self.url = make_cluster(self, fsync="off").url()
        self.assertIn("fsync has to be on", self.refused())

    def test_one_that_is_not_there(self) -> None:
        self.url = self.url.replace(self.database, "nosuch")
        self.assertIn('database "nosuch" does not exist', self.refused(UnavailableError))


class StandbyTests(TestCase):
    async def test_a_standby_answers_nothing_until_it_is_promoted(self) -> None:
        """Then, what clients know may not have been copied: they compare everything."""
        primary = make_cluster(self)
        catalogue = await self.opened(primary)
        await catalogue.publish([small(name("a"))])
        known = await catalogue.history("alice", "default")
        standby = Cluster(primary=primary)
        self.addCleanup(standby.remove)
        error = self.assertRaises(UnavailableError, connect, read_url(standby.url()))
        self.assertNotIsInstance(error, DamagedError)
        # Of two hosts, the one that can be written is asked.
        both = f"postgresql://blobman@/postgres?host={standby.folder},{primary.folder}"
        with connect(read_url(both)) as session:
            self.assertEqual(session.info.host, primary.folder)
        primary.kill()
        standby.run("SELECT pg_promote()")
        promoted = await self.opened(standby)
        history = await promoted.history("alice", "default", known.generation)
        self.assertEqual((history.number, history.reach), (1, None))
        self.assertNotEqual(history.generation, known.generation)
        self.assertEqual(await promoted.publish([small(name("b"))]), [None])

    async def opened(self, cluster: Cluster) -> PostgresCatalogue:
        catalogue = PostgresCatalogue(read_url(cluster.url()))
        await catalogue.open()
        self.addCleanup(catalogue.close)
        return catalogue


class URLTests(TestCase):
    def test_what_is_none(self) -> None:
        for url in (
            "postgresql://u:hidden@[::1/db",
            "postgresql://u:hidden%@h/db",
            "postgresql://h/db?password=hidden&nonsense=1",
            "host=h password='hidden",
        ):
            error = self.assertRaises(ValueError, read_url, url)
            self.assertNotIn("hidden", str(error))
            self.assertIsNone(error.__cause__)
            self.assertTrue(error.__suppress_context__)

    def test_what_is_given_wins(self) -> None:
        self.assertIn("connect_timeout=5", read_url("postgresql://h/db"))
        self.assertIn("connect_timeout=7", read_url("postgresql://h/db?connect_timeout=7"))

    def test_how_text_is_sent_is_not_for_a_url_to_say(self) -> None:
        conninfo = read_url("postgresql://h/db?client_encoding=latin1")
        self.assertIn("client_encoding=UTF8", conninfo)
        self.assertNotIn("latin1", conninfo)


class PoolTests(TestCase):
    def setUp(self) -> None:
        self.url = make_database(self)
        self.seconds = 0.0
        self.pool = Pool(read_url(self.url), lambda: self.seconds)
        self.addCleanup(self.pool.close)
        self.calls = 0

    def failing(self, state: str, times: int = 1) -> str:
        """Have the database fail with an SQLSTATE, some times."""
        self.calls = 0

        def call(session: Session) -> str:
            self.calls += 1
            if self.calls <= times:
                session.execute(f"DO $$ BEGIN RAISE SQLSTATE '{state}'; END $$".encode())
            return "done"

        return self.pool.change(call)

    def test_deadlocks_are_tried_again(self) -> None:
        for state in ("40P01", "40001"):
            self.assertEqual(self.failing(state), "done")
            self.assertEqual(self.calls, 2)
            self.assertRaises(UnavailableError, self.failing, state, 100)
            self.assertEqual(self.calls, ATTEMPTS)

    def test_other_errors_are_not(self) -> None:
        for state, kind in (
            ("53100", UnavailableError),
            ("57014", UnavailableError),
            ("XX001", DamagedError),
            ("42P01", UnavailableError),
        ):
            self.assertRaises(kind, self.failing, state)
            self.assertEqual(self.calls, 1)

    def test_a_session_is_used_again(self) -> None:
        first = self.pool.ask(lambda session: session.info.backend_pid)
        self.assertEqual(self.pool.ask(lambda session: session.info.backend_pid), first)
        self.assertEqual(self.pool.sessions(), (0, 1))
        self.assertRaises(UnavailableError, self.failing, "53100")
        self.assertEqual(self.pool.sessions(), (0, 1))

    def test_one_that_ended_meanwhile_is_not(self) -> None:
        """Not even for a change: nothing has been asked of it."""
        first = self.pool.ask(lambda session: session.info.backend_pid)
        shared_cluster().run(f"SELECT pg_terminate_backend({first}, 10000)")
        second = self.pool.change(lambda session: session.info.backend_pid)
        self.assertNotEqual(first, second)

    def test_a_connection_that_is_lost(self) -> None:
        """It is asked again; but what may have been changed is not changed again."""
        self.calls = 0

        def end(session: Session) -> str:
            self.calls += 1
            if self.calls == 1:
                session.execute(b"SELECT pg_terminate_backend(pg_backend_pid())")
            return "done"

        self.assertEqual(self.pool.ask(end), "done")
        self.assertEqual(self.calls, 2)
        self.calls = 0
        self.assertRaises(UnavailableError, self.pool.change, end)
        self.assertEqual(self.calls, 1)

    def test_a_database_that_hangs(self) -> None:
        """It is given up, and not asked again for a moment by those who wait, too."""
        self.patch(sessions, "LIMIT", 0.5)
        others = [self.pool.ask(lambda session: session.info.backend_pid) for _ in range(2)]
        self.assertEqual(len(others), 2)
        error = self.assertRaises(
            UnavailableError, self.pool.ask, lambda it: it.execute(b"SELECT pg_sleep(60)")
        )
        self.assertIn("does not answer", str(error))
        self.assertIsInstance(error.__cause__, psycopg.Error)
        self.assertEqual(self.pool.sessions(), (0, 0))
        self.calls = 0
        self.assertRaises(UnavailableError, self.failing, "53100")
        self.assertEqual(self.calls, 0)
        self.seconds += 1
        self.assertEqual(self.failing("53100", 0), "done")

    def test_one_that_is_locked_for_long(self) -> None:
        """The database ends it by itself: it is certain that nothing was changed."""
        self.pool.change(lambda it: it.execute(b"CREATE SCHEMA blobman"))
        self.pool.change(lambda it: it.execute(b"CREATE TABLE locked AS SELECT 1 AS a"))
        with psycopg.connect(self.url) as other:
            other.execute("LOCK TABLE blobman.locked")

            def change(session: Session) -> None:
                session.execute(b"SET lock_timeout = '10ms'")
                session.execute(b"UPDATE locked SET a = 2")

            error = self.assertRaises(UnavailableError, self.pool.change, change)
            self.assertIn("too busy", str(error))
