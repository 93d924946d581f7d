"""Uploads and garbage by the clock of the database."""

from __future__ import annotations

from blobman.errors import QuotaExceededError
from blobman.server.storage.catalogue.interface import LEASE, POSTPONED
from blobman.server.storage.interface import UnavailableError
from blobman.testing.contracts.catalogue_case import CatalogueCase, large
from blobman.testing.contracts.support import name

from ...postgres import shared_cluster
from .case import PostgresCase

KEY = "a" * 32


class UploadsTests(CatalogueCase, PostgresCase):
    """Time passes by having what is noted be longer ago."""

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.database = self.url.partition("@/")[2].partition("?")[0]
        await self.catalogue.set_quota("alice", 1000)
        await self.catalogue.reserve(name("a"), KEY, 1000)

    def run_sql(self, statement: str) -> list[tuple[object, ...]]:
        return shared_cluster().run(statement, self.database)

    def pass_time(self, seconds: int) -> None:
        self.run_sql(f"UPDATE blobman.uploads SET lease = lease - {seconds}")
        self.run_sql(f"UPDATE blobman.garbage SET due = due - {seconds}")

    async def test_a_lease_that_runs_out(self) -> None:
        """Its space is free again, and nothing can be published with it."""
        self.pass_time(LEASE - 60)
        self.assertEqual(await self.catalogue.collect(10), [])
        self.pass_time(120)
        self.assertEqual(await self.catalogue.collect(10), [KEY])
        await self.catalogue.reserve(name("b"), "b" * 32, 1000)
        (error,) = await self.catalogue.publish([large(name("a"), KEY, 1000)])
        self.assertIsInstance(error, UnavailableError)

    async def test_a_lease_that_is_renewed(self) -> None:
        self.pass_time(LEASE - 60)
        await self.catalogue.renew([KEY])
        self.pass_time(LEASE - 60)
        self.assertEqual(await self.catalogue.collect(10), [])
        await self.assertFailure(self.catalogue.reserve(name("b"), "b" * 32, 1), QuotaExceededError)
        self.assertEqual(await self.catalogue.publish([large(name("a"), KEY, 1000)]), [None])

    async def test_extending_it_renews_it(self) -> None:
        self.pass_time(LEASE - 60)
        await self.catalogue.extend(KEY, 900)
        self.pass_time(LEASE - 60)
        self.assertEqual(await self.catalogue.collect(10), [])

    async def test_who_was_told_of_garbage_has_ended(self) -> None:
        """After a while it is told to another one; what can't be removed, later."""
        await self.catalogue.abandon(KEY)
        self.assertEqual(await self.catalogue.collect(10), [KEY])
        self.assertEqual(await self.catalogue.collect(10), [])
        self.pass_time(LEASE)
        self.assertEqual(await self.catalogue.collect(10), [KEY])
        await self.catalogue.postpone([KEY])
        self.pass_time(LEASE)
        self.assertEqual(await self.catalogue.collect(10), [])
        self.pass_time(POSTPONED)
        self.assertEqual(await self.catalogue.collect(10), [KEY])

    async def test_what_may_turn_up_late_is_removed_twice(self) -> None:
        """Also if two have been removing it at the same time."""
        await self.catalogue.abandon(KEY)
        self.assertEqual(await self.catalogue.collect(10), [KEY])
        for _ in range(2):
            await self.catalogue.forget([KEY], late=1000)
        self.pass_time(1000)
        self.assertEqual(await self.catalogue.collect(10), [KEY])
        await self.catalogue.forget([KEY], late=1000)
        self.assertEqual(self.run_sql("SELECT count(*) FROM blobman.garbage"), [(0,)])

    async def test_a_clock_that_was_ahead(self) -> None:
        """As that of another machine before a failover: nobody waits longer than ever."""
        await self.catalogue.reserve(name("b"), "b" * 32, 0)
        await self.catalogue.abandon("b" * 32)
        await self.catalogue.postpone(["b" * 32])
        self.pass_time(-1_000_000)
        self.assertEqual(await self.catalogue.collect(10), [])
        self.pass_time(max(LEASE, POSTPONED) + 10)
        self.assertEqual(sorted(await self.catalogue.collect(10)), [KEY, "b" * 32])
