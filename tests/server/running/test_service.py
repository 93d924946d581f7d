"""The service: starting, several endpoints, stopping."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import gatherResults
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import TestCase

from blobman.errors import StoreError
from blobman.protocol import write_authorization
from blobman.server.accounts.tokens import TokenFile
from blobman.server.running.administration import tokens_of
from blobman.server.running.configuration import make_service
from blobman.server.running.service import BlobsService

from ..blobs import sealed
from ..talk import Talk

LOOPBACK = "tcp:0:interface=127.0.0.1"


def number_of(port: IListeningPort) -> int:
    address = port.getHost()
    assert isinstance(address, IPv4Address)
    return address.port


class ServiceTests(TestCase):
    def setUp(self) -> None:
        self.folder = self.mktemp()
        os.mkdir(self.folder)
        self.tokens = os.path.join(self.folder, "tokens")
        self.token = TokenFile(self.tokens).add("alice")

    def service(self, *listen: str, data: str = "data", **options: Any) -> BlobsService:
        given: dict[str, Any] = {"tokens": self.tokens, **options}
        data = os.path.join(self.folder, data)
        service = make_service(data, listen=listen or [LOOPBACK], **given)
        self.addCleanup(service.stopService)
        return service

    async def talk(self, service: BlobsService, port: int = 0) -> Talk:
        talk = Talk()
        address = HostnameEndpoint(reactor, "127.0.0.1", number_of(service.ports[port]))
        await connectProtocol(address, talk)
        self.addCleanup(talk.abort)
        return talk

    def request(self, method: str, path: str, *headers: str) -> bytes:
        credentials = write_authorization("alice", self.token)
        lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Authorization: {credentials}"]
        return "\r\n".join([*lines, *headers, "", ""]).encode()

    async def test_several_endpoints(self) -> None:
        service = self.service(LOOPBACK, LOOPBACK)
        service.startService()
        ports = await service.when_listening()
        self.assertEqual(len({number_of(port) for port in ports}), 2)
        for number in range(2):
            talk = await self.talk(service, number)
            talk.send(self.request("GET", "/blobs/alice/"))
            await talk.until(b"\r\n\r\n[]")
        await service.stopService()
        self.assertEqual(service.ports, [])

    async def test_the_log_says_where_it_listens(self) -> None:
        service = self.service()
        with capturedLogs() as events:
            service.startService()
            [port] = await service.when_listening()
            number = number_of(port)
            await service.stopService()
        logged = [formatEvent(event) for event in events]
        self.assertIn(f"Listening on 127.0.0.1:{number}", logged)
        self.assertNotIn("object at", "".join(logged))

    async def test_tokens_in_the_catalogue(self) -> None:
        data = os.path.join(self.folder, "data")
        tokens = tokens_of(f"sqlite:{data}")
        in_the_file, self.token = self.token, tokens.add("alice", "phone")
        service = self.service(tokens=None)
        service.startService()
        await service.when_listening()
        talk = await self.talk(service)

        async def is_answered(code: int) -> None:
            talk.received = b""
            talk.send(self.request("GET", "/blobs/alice/"))
            await talk.until(f"HTTP/1.1 {code}".encode())

        await is_answered(200)
        os.rename(data, data + "-away")
        await is_answered(503)
        os.rename(data + "-away", data)
        await is_answered(200)
        tokens.revoke("alice", "phone")
        await is_answered(401)
        self.token = tokens.add("alice", "phone")
        await is_answered(200)
        self.token = in_the_file
        await is_answered(401)

    async def test_a_port_that_is_taken(self) -> None:
        first = self.service()
        first.startService()
        port = number_of((await first.when_listening())[0])
        second = self.service(LOOPBACK, f"tcp:{port}:interface=127.0.0.1", data="other")
        second.startService()
        await self.assertFailure(second.when_listening(), CannotListenError)
        await self.assertFailure(second.when_listening(), CannotListenError)
        self.assertEqual(second.ports, [])

    async def test_a_folder_that_is_taken(self) -> None:
        first, second = self.service(), self.service()
        first.startService()
        await first.when_listening()
        second.startService()
        await self.assertFailure(second.when_listening(), StoreError)

    async def test_deliveries_are_taken_on_loopback(self) -> None:
        service = self.service(
            LOOPBACK,
            incoming=["tcp:0", "tcp:0:backlog=10", "tcp:0:interface=0.0.0.0", "tcp6:0"],
            incoming_tokens=self.tokens,
        )
        service.startService()
        _, *ports = await service.when_listening()
        hosts = [getattr(port.getHost(), "host") for port in ports]  # noqa: B009
        self.assertEqual(hosts, ["127.0.0.1", "127.0.0.1", "0.0.0.0", "::1"])

    async def test_figures_are_shown_on_loopback(self) -> None:
        service = self.service(
            LOOPBACK, metrics=["tcp:0", "tcp6:0:backlog=10", "tcp:0:interface=0.0.0.0"]
        )
        service.startService()
        _, *ports = await service.when_listening()
        hosts = [getattr(port.getHost(), "host") for port in ports]  # noqa: B009
        self.assertEqual(hosts, ["127.0.0.1", "::1", "0.0.0.0"])

    def test_what_can_not_be_put_on_loopback(self) -> None:
        for kind in ("incoming", "metrics"):
            given: dict[str, Any] = {"incoming_tokens": self.tokens, kind: ["other:0"]}
            with self.assertRaisesRegex(ValueError, f"{kind} other:0: .*interface="):
                self.service(LOOPBACK, **given)
            self.service(LOOPBACK, **given | {kind: ["unix:" + os.path.join(self.folder, kind)]})

    async def test_behind_a_proxy_that_tells_who_asks(self) -> None:
        service = self.service("haproxy:" + LOOPBACK)
        service.startService()
        await service.when_listening()
        peers: list[str] = []
        for site, _ in service._endpoints:
            site.observers.append(lambda report: peers.append(report.peer))
        talk = await self.talk(service)
        talk.send(b"PROXY TCP4 203.0.113.9 127.0.0.1 4000 443\r\n")
        talk.send(self.request("GET", "/blobs/alice/", "Connection: close"))
        self.assertIn(b"HTTP/1.1 200", await talk.closed)
        self.assertEqual(peers, ["203.0.113.9"])

    def test_paths_that_are_empty(self) -> None:
        for arguments in (("", "t", [LOOPBACK]), ("d", "", [LOOPBACK])):
            self.assertRaisesRegex(ValueError, "must be a path", make_service, *arguments)
        self.assertRaises(ValueError, TokenFile, "")

    async def test_again_after_a_stop(self) -> None:
        service = self.service()
        for _ in range(2):
            service.startService()
            self.assertEqual(len(await service.when_listening()), 1)
            await service.stopService()

    async def test_stopped_while_starting(self) -> None:
        service = self.service()
        service.startService()
        await service.stopService()
        self.assertEqual(service.ports, [])

    async def test_what_is_under_way_is_completed(self) -> None:
        service = self.service()
        service.startService()
        await service.when_listening()
        idle, busy = await self.talk(service), await self.talk(service)
        idle.send(self.request("GET", "/blobs/alice/"))
        await idle.until(b"[]")
        busy.send(
            self.request("PUT", "/blobs/alice/a", "Content-Length: 800", "Expect: 100-continue")
        )
        await busy.until(b"100 Continue")
        stopped = service.stopService()
        await idle.closed
        self.assertFalse(stopped.called)
        busy.send(sealed())
        self.assertIn(b"HTTP/1.1 200", await busy.closed)
        await stopped

    async def test_what_waits_for_changes_is_answered(self) -> None:
        service = self.service()
        for _ in range(2):
            service.startService()
            await service.when_listening()
            waiting, other = await self.talk(service), await self.talk(service)
            waiting.send(self.request("GET", "/blobs/alice/?changes=start&wait=60"))
            other.send(self.request("GET", "/blobs/alice/"))
            await other.until(b"[]")
            self.assertEqual(waiting.received, b"")
            await service.stopService()
            answer = await waiting.closed
            self.assertIn(b"HTTP/1.1 200", answer)
            self.assertIn(b'{"changes": [], ', answer)

    async def test_stopped_twice(self) -> None:
        service = self.service()
        service.startService()
        await service.when_listening()
        talk = await self.talk(service)
        talk.send(
            self.request("PUT", "/blobs/alice/a", "Content-Length: 800", "Expect: 100-continue")
        )
        await talk.until(b"100 Continue")
        stopped = [service.stopService() for _ in range(2)]
        self.assertEqual([it.called for it in stopped], [False, False])
        talk.send(sealed())
        self.assertIn(b"HTTP/1.1 200", await talk.closed)
        await gatherResults(stopped)

    async def test_what_takes_too_long_is_broken_off(self) -> None:
        service = self.service(grace=0.01)
        service.startService()
        await service.when_listening()
        talk = await self.talk(service)
        talk.send(
            self.request("PUT", "/blobs/alice/a", "Content-Length: 800", "Expect: 100-continue")
        )
        await talk.until(b"100 Continue")
        await service.stopService()
        await talk.closed
