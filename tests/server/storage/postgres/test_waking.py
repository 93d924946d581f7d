"""How those who wait learn of what another process has changed, whatever is lost on the way."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase

from blobman.protocol import ListQuery
from blobman.server.storage.catalogue.interface import ICatalogue
from blobman.server.storage.catalogue.postgres.waking import (
    EVERY,
    GATHERED,
    read_message,
    write_messages,
)
from blobman.testing.contracts.catalogue_case import CatalogueCase, small
from blobman.testing.contracts.support import name

from ...postgres import shared_cluster
from .case import PostgresCase

ANY = ListQuery("default")

LISTENING = (
    "FROM pg_stat_activity WHERE datname = current_database()"
    " AND query LIKE 'LISTEN%' AND pid <> pg_backend_pid()"
)


class LostTests(CatalogueCase, PostgresCase):
    """
    The clock of the process that changes something stands still, so that it tells nobody.
    """

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.database = self.url.partition("@/")[2].partition("?")[0]
        self.its_clock = Clock()
        self.other: ICatalogue = await self.open_catalogue(self.its_clock)
        self.blobs = 0

    async def change(self) -> None:
        """Have the other process change something; nobody is told of it."""
        self.blobs += 1
        self.assertEqual(await self.other.publish([small(name(str(self.blobs)))]), [None])

    async def wait(self) -> Deferred[None]:
        """Wait as a request does, which looks before."""
        waiting = self.catalogue.waking.wait("alice", "default")
        await self.catalogue.history("alice", "default")
        return waiting

    async def pass_time(self, seconds: float, steps: int = 1) -> None:
        """Let time pass, and what begins then come to its end."""
        for _ in range(steps):
            self.clock.advance(seconds)
            for _ in range(5):
                await self.catalogue.count("alice", ANY)
                await deferLater(reactor, 0)

    async def test_it_looks_by_itself(self) -> None:
        for _ in range(3):
            waiting = await self.wait()
            await self.change()
            while not waiting.called:
                await self.pass_time(EVERY)

    async def test_nothing_has_changed(self) -> None:
        await self.change()
        waiting = await self.wait()
        await self.pass_time(EVERY, 5)
        self.assertFalse(waiting.called)
        waiting.cancel()
        waiting.addErrback(lambda _: None)

    async def test_a_change_just_before_it_looks_for_the_first_time(self) -> None:
        """Who waits has seen the number of before."""
        waiting = await self.wait()
        await self.change()
        other = self.catalogue.waking.wait("alice", "default")
        while not (waiting.called and other.called):
            await self.pass_time(EVERY)

    async def test_what_another_one_who_waits_has_seen(self) -> None:
        """A change that one of two has seen already is told the other one."""
        first = await self.wait()
        await self.change()
        await self.wait()
        self.assertTrue(first.called)

    async def test_a_listener_that_was_cut_off(self) -> None:
        cluster = shared_cluster()
        cut = f"SELECT pg_terminate_backend(pid, 10000) {LISTENING}"
        while len(cluster.run(f"SELECT 1 {LISTENING}", self.database)) < 2:
            await self.pass_time(EVERY)
        self.assertTrue(cluster.run(cut, self.database))
        while not cluster.run(f"SELECT 1 {LISTENING}", self.database):
            await self.pass_time(EVERY)
        waiting = await self.wait()
        await self.change()
        self.its_clock.advance(GATHERED)
        await waiting


class MessageTests(SynchronousTestCase):
    PLACES = st.lists(
        st.tuples(*2 * [st.text("abcXYZ019_-", min_size=1, max_size=254)]), unique=True
    )

    @given(PLACES)
    def test_all_places_are_told_in_messages_that_are_not_too_long(
        self, places: list[tuple[str, str]]
    ) -> None:
        messages = [*write_messages("me", places)]
        self.assertEqual(
            [it for text in messages for it in read_message("you", text.encode())], places
        )
        for text in messages:
            self.assertLess(len(text.encode()), 8000)
            self.assertEqual(read_message("me", text.encode()), [])

    def test_many(self) -> None:
        places = [("u" * 254, f"{number:0254}") for number in range(100)]
        messages = [*write_messages("me", places)]
        self.assertGreater(len(messages), 1)
        self.assertLess(max(map(len, messages)), 8000)

    def test_what_is_no_message(self) -> None:
        """Whoever may use the database can send anything."""
        for text in (
            b"",
            b"x",
            b"1",
            b"null",
            b"[]",
            b'["a", 1]',
            b'["a", "b"]',
            b"\xff",
            b"[" * 9999,
        ):
            self.assertEqual(read_message("me", text), [])
