"""A server for an application's tests: the real one, but for its disk."""

from __future__ import annotations

import os
import tempfile
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort

from ..server.accounts.file import FileAccounts
from ..server.accounts.tokens import TokenFile
from ..server.running.sites import make_site
from ..server.storage.backends import memory_backend

__all__ = ["MemoryServer"]


class MemoryServer:
    """
    Serves blobs on a port of this machine's own, and keeps them in memory.

    It speaks the whole protocol, over TCP without TLS, to one user.

    :ivar user: the user.
    :ivar token: the user's token.
    :ivar remote: the base URL for a ``BlobManager``; only while it runs.
    :ivar remote_stream: the base URL of its streams; only while it runs.
    """

    def __init__(self, user: str = "alice", reactor: Any = None) -> None:
        """
        It does not listen yet.

        :param reactor: None for the global one.
        """
        if reactor is None:
            from twisted.internet import reactor
        self.user = user
        self._reactor = reactor
        self._backend = memory_backend()
        self._backend.open()
        self._folder = tempfile.TemporaryDirectory()
        tokens = TokenFile(os.path.join(self._folder.name, "tokens"))
        self.token = tokens.add(user)
        self._site = make_site(self._backend, FileAccounts(tokens, reactor), reactor)
        self._port: IListeningPort | None = None
        self.remote = ""
        self.remote_stream = ""

    def start(self) -> None:
        """Listen, on a port that is free."""
        port = self._port = self._reactor.listenTCP(0, self._site, interface="127.0.0.1")
        base = f"http://127.0.0.1:{port.getHost().port}"
        self.remote, self.remote_stream = f"{base}/blobs/", f"{base}/stream/"

    def stop(self) -> Deferred[None]:
        """
        Listen no more, and forget everything.

        :return: fires when all connections are closed.
        """
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            await port.stopListening()  # type: ignore[misc]
        await self._site.end_connections(0.0)
        await self._backend.close()
        self._folder.cleanup()
