"""What is the backend's own: how it begins and ends."""

from __future__ import annotations

import threading
from typing import cast

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.trial.unittest import TestCase

from blobman.server.storage.backends import folder_backend
from blobman.server.storage.catalogue.writer import Writer
from blobman.server.storage.interface import SMALL, BlobName


class CancelledReceiveTests(TestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        self.backend = folder_backend(self.mktemp(), reactor)
        await self.backend.open()
        self.addCleanup(self.backend.close)
        self.reserve = self.backend.catalogue.reserve
        self.patch(self.backend.catalogue, "reserve", self.reserve_later)
        self.reserved: Deferred[None] = Deferred(lambda _: None)

    def reserve_later(self, name: BlobName, key: str, size: int) -> Deferred[None]:
        """Reserve in a thread that has begun, and gets to it when the test says so."""
        self.key = key
        return self.reserved

    async def test_what_is_reserved_later_is_given_back(self) -> None:
        name = BlobName("alice", "default", "a")
        receiving = self.backend.receive(name, 10 * SMALL)
        receiving.cancel()
        await self.assertFailure(receiving, CancelledError)
        await self.backend.janitor.stop()
        await self.reserve(name, self.key, 10 * SMALL)
        self.reserved.callback(None)
        await self.backend.janitor.stop()
        self.assertEqual(await self.backend.catalogue.claimed_keys(), [])


class CancelledOpenTests(TestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        self.data = self.mktemp()
        self.gate = threading.Event()
        begun: Deferred[None] = Deferred()
        self.opened: Deferred[None] = Deferred()
        original = Writer.open

        def wait(writer: Writer) -> None:
            cast(IReactorFromThreads, reactor).callFromThread(begun.callback, None)
            self.gate.wait()
            original(writer)
            cast(IReactorFromThreads, reactor).callFromThread(self.opened.callback, None)

        patch = self.patch(Writer, "open", wait)
        self.backend = folder_backend(self.data, reactor)
        opening = self.backend.open()
        await begun
        patch.restore()
        opening.cancel()
        await self.assertFailure(opening, CancelledError)

    async def test_it_is_closed_again(self) -> None:
        closing = self.backend.close()
        self.gate.set()
        await closing
        await self.opened
        other = folder_backend(self.data, reactor)
        await other.open()
        await other.close()

    async def test_it_can_be_opened_later(self) -> None:
        again = self.backend.open()
        self.gate.set()
        await again
        await self.backend.check_writing()
        await self.backend.close()
