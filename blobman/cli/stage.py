"""A server and devices for ``demo``, all in one temporary folder."""

from __future__ import annotations

import datetime
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from twisted.internet.endpoints import quoteStringArgument
from twisted.internet.interfaces import IConsumer
from zope.interface import implementer

from blobman import BlobManager
from blobman.server.accounts.tokens import TokenFile
from blobman.server.running.configuration import make_service
from blobman.server.running.service import BlobsService
from blobman.server.storage.interface import BlobName

from .certificates import make_certificates
from .secretfiles import new_secret
from .waiting import until_ended

USER = "demo"


class Stage:
    """
    A server on this machine, and what its only user knows.

    :ivar data: the server's folder.
    :ivar url: its blobs; known when it has been started.
    """

    def __init__(self, reactor: Any, folder: str) -> None:
        """
        Nothing is started yet.

        :param folder: where all of it goes.
        """
        self._reactor = reactor
        self._folder = folder
        self._secret = new_secret()
        self._tokens = TokenFile(os.path.join(folder, "tokens.json"))
        self._certificates = make_certificates(folder, datetime.datetime.now(datetime.timezone.utc))
        self.data = os.path.join(folder, "server")
        self.url = ""
        self._service: BlobsService | None = None

    @asynccontextmanager
    async def server(self) -> AsyncIterator[None]:
        """Run the server, on a port that is free."""
        key, certificate = map(
            quoteStringArgument, (self._certificates.key, self._certificates.certificate)
        )
        listen = f"ssl:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
        service = make_service(self.data, self._tokens.path, [listen], self._reactor)
        self._service = service
        service.startService()
        try:
            [port] = await service.when_listening()
            address: Any = port.getHost()
            self.url = f"https://127.0.0.1:{address.port}/blobs/"
            yield
        finally:
            await until_ended(service.stopService())

    @asynccontextmanager
    async def device(self, name: str) -> AsyncIterator[BlobManager]:
        """Give a device: a store and a token of its own, and the secret that all have."""
        manager = BlobManager(
            os.path.join(self._folder, name),
            self.url,
            new_secret(),
            self._secret,
            USER,
            self._tokens.add(USER),
            self._certificates.authority,
            reactor=self._reactor,
        )
        try:
            yield manager
        finally:
            await until_ended(manager.close())

    async def look_at_server(
        self, blob_id: str, start: int = 0, most: int = 0
    ) -> tuple[int, bytes]:
        """
        Look at what the server has.

        :return: the blob's bytes, and as many of them from ``start`` on as are asked for.
        """
        assert self._service is not None
        blob = await self._service.backend.read(BlobName(USER, "default", blob_id))
        seen = _Seen()
        try:
            await blob.write_to(seen, start, min(start + most, blob.size))
        finally:
            blob.close()
        return blob.size, b"".join(seen.pieces)


@implementer(IConsumer)
class _Seen:
    """Keeps what is written to it."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        pass

    def unregisterProducer(self) -> None:
        pass

    def write(self, data: bytes) -> None:
        self.pieces.append(data)
