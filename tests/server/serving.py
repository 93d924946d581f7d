"""A server that runs on loopback, and a client for it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import treq
from treq.client import HTTPClient
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol, serverFromString
from twisted.internet.ssl import Certificate
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool
from twisted.web.http_headers import Headers

from blobman.protocol import write_authorization
from blobman.server.accounts.file import FileAccounts
from blobman.server.accounts.tokens import TokenFile
from blobman.server.running.sites import make_site
from blobman.server.storage.backend import Backend
from blobman.server.storage.backends import folder_backend

from .certificates import write_certificate
from .talk import Talk

if TYPE_CHECKING:
    from twisted.trial.unittest import TestCase as Base
else:
    Base = object


class Answer:
    """A whole answer."""

    def __init__(self, code: int, headers: Headers, body: bytes, length: object) -> None:
        self.code = code
        self.headers = headers
        self.body = body
        self.length = length

    def header(self, name: str) -> str | None:
        values = self.headers.getRawHeaders(name)
        return values[0] if values else None

    def json(self) -> Any:
        import json

        return json.loads(self.body)


class ServerMixin(Base):
    """Mixed into a TestCase: a server with alice and bob, and a client that asks it as alice."""

    scheme = "http"
    site_options: dict[str, Any] = {}  # noqa: RUF012

    async def start_server(self) -> None:
        folder = self.mktemp()
        os.mkdir(folder)
        self.root = os.path.join(folder, "data")
        self.tokens = TokenFile(os.path.join(folder, "tokens"))
        self.alice, self.bob = self.tokens.add("alice"), self.tokens.add("bob")
        self.backend = self.make_backend()
        await self.backend.open()
        self.site = make_site(self.backend, FileAccounts(self.tokens), **self.site_options)
        self.certificate = ""
        endpoint = "tcp:0:interface=127.0.0.1"
        if self.scheme == "https":
            key, self.certificate = write_certificate(folder)
            endpoint = f"ssl:0:interface=127.0.0.1:privateKey={key}:certKey={self.certificate}"
        self.port = await serverFromString(reactor, endpoint).listen(self.site)
        self.pool = HTTPConnectionPool(reactor)
        self.client = HTTPClient(self.make_agent())
        self.addCleanup(self.stop_server)

    def make_backend(self) -> Backend:
        return folder_backend(self.root)

    def make_agent(self) -> Agent:
        if self.scheme == "http":
            return Agent(reactor, pool=self.pool)
        return Agent(reactor, BrowserLikePolicyForHTTPS(self.authority()), pool=self.pool)

    def authority(self) -> Certificate:
        with open(self.certificate, "rb") as file:
            return Certificate.loadPEM(file.read())

    async def stop_server(self) -> None:
        await self.port.stopListening()
        await self.pool.closeCachedConnections()
        await self.site.end_connections(0.0)
        await self.backend.close()

    def url(self, path: str) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port.getHost().port}/{path}"

    async def ask(
        self,
        method: str,
        path: str,
        data: Any = None,
        user: str = "alice",
        token: str | None = None,
        headers: dict[str, str] | None = None,
        **options: Any,
    ) -> Answer:
        """Send a request, and wait for the whole answer."""
        if token is None:
            token = {"alice": self.alice, "bob": self.bob}.get(user, "wrong")
        all_headers = Headers({"Authorization": [write_authorization(user, token)]})
        for name, value in (headers or {}).items():
            all_headers.setRawHeaders(name, [value])
        response = await self.client.request(
            method, self.url(path), data=data, headers=all_headers, **options
        )
        body = await treq.content(response)
        return Answer(response.code, response.headers, body, response.length)

    async def announce(self, length: int, path: str, user: str, token: str) -> bytes:
        """Begin a PUT with a body that never comes, and return the first line of the answer."""
        talk = Talk()
        port = self.port.getHost().port
        await connectProtocol(HostnameEndpoint(reactor, "127.0.0.1", port), talk)
        head = f"PUT /{path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\nAuthorization: "
        talk.send(f"{head}{write_authorization(user, token)}\r\n\r\n".encode())
        answer = await talk.until(b"\r\n\r\n")
        await talk.abort()
        return answer.partition(b"\r\n")[0]

    def expect(
        self, code: int, method: str, path: str, *arguments: Any, **options: Any
    ) -> Deferred[Answer]:
        """Send a request, and check the status of the answer."""

        async def ask() -> Answer:
            answer = await self.ask(method, path, *arguments, **options)
            self.assertEqual(answer.code, code, answer.body)
            return answer

        return Deferred.fromCoroutine(ask())
