"""A server and devices for ``demo``, all in one temporary folder."""

from __future__ import annotations

import datetime
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from twisted.internet.endpoints import quoteStringArgument

from blobman import BlobManager
from blobman.server.accounts.tokens import TokenFile
from blobman.server.running.configuration import make_service

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

    @asynccontextmanager
    async def server(self) -> AsyncIterator[None]:
        """Run the server, on a port that is free."""
        key, certificate = map(
            quoteStringArgument, (self._certificates.key, self._certificates.certificate)
        )
        listen = f"ssl:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
        # The files are shown: they should be there at once.
        service = make_service(self.data, self._tokens.path, [listen], self._reactor, backlog=0)
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

    def find_on_server(self, blob_id: str) -> str:
        """
        Find where the server keeps a blob.

        :raise FileNotFoundError: nowhere.
        """
        for folder, _, names in os.walk(self.data):
            if blob_id in names:
                return os.path.join(folder, blob_id)
        raise FileNotFoundError(f"the server has no file {blob_id}")
