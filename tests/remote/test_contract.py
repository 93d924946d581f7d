"""The client against each server that there is."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from blobman.crypto import Seals
from blobman.remote import BlobsClient, BlobsStream, Exchanges
from blobman.testing import MemoryServer

from ..support import USER, ServerTestCase
from .contract import RemoteContract


class FolderOverTCPTests(RemoteContract, ServerTestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        await ServerTestCase.setUp(self)
        ca_file = self.ca_file if self.tls else None
        exchanges = Exchanges(reactor, USER, self.token, ca_file)
        self.addCleanup(exchanges.close)
        seals = Seals(self.secret, USER, [""])
        self.remote = BlobsClient(exchanges, self.url, seals)
        self.stream = BlobsStream(exchanges, self.url_at(self.port, "stream"), seals)


class FolderOverTLSTests(FolderOverTCPTests):
    tls = True


class MemoryTests(RemoteContract, TestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        server = MemoryServer()
        server.start()
        self.addCleanup(server.stop)
        exchanges = Exchanges(reactor, server.user, server.token)
        self.addCleanup(exchanges.close)
        seals = Seals(self.secret, server.user, [""])
        self.remote = BlobsClient(exchanges, server.remote, seals)
        self.stream = BlobsStream(exchanges, server.remote_stream, seals)
