"""How a catalogue in PostgreSQL begins, if it does."""

from __future__ import annotations

import threading

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from blobman.server.storage.catalogue.postgres.catalogue import PostgresCatalogue
from blobman.server.storage.catalogue.postgres.sessions import read_url
from blobman.server.storage.interface import UnavailableError

from ...postgres import make_database


class OpeningTests(TestCase):
    async def test_no_more_threads(self) -> None:
        """None is left behind, and it can be opened later."""
        before = {*threading.enumerate()}
        start = threading.Thread.start

        def refuse(thread: threading.Thread) -> None:
            if thread.name == "blobman-lane-1-0":
                raise RuntimeError("can't start new thread")
            start(thread)

        patch = self.patch(threading.Thread, "start", refuse)
        catalogue = PostgresCatalogue(read_url(make_database(self)), reactor)
        await self.assertFailure(catalogue.open(), UnavailableError)
        left = [it.name for it in {*threading.enumerate()} - before]
        self.assertEqual([it for it in left if it.startswith("blobman-")], [])
        patch.restore()
        await catalogue.open()
        self.assertEqual(await catalogue.usage(), [])
        await catalogue.close()
