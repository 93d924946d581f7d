"""What ``sync`` says of blobs that it leaves behind, and of servers that are not themselves."""

from __future__ import annotations

import datetime
import os
from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, Protocol

from blobman.cli.certificates import make_certificates
from blobman.cli.secretfiles import new_secret, write_secret

from ..ports import own_port
from .harness import ServerCase, tls_endpoint
from .processes import Process


class LeftTests(ServerCase):
    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.other = self.path("other secret")
        write_secret(self.other, new_secret())

    async def test_what_does_not_verify_is_not_ok(self) -> None:
        await self.put(b"a", "--id", "a")
        await self.put(b"b", "--id", "b", "--secret-file", self.other)
        self.another_machine()
        outcome = await self.run_command("sync")
        self.assertEqual(outcome.code, 7)
        self.assertIn("sealed with another secret", outcome.err)
        for options in (), ("--json",), ("--quiet",):
            outcome = await self.run_command("sync", *options)
            self.assertEqual(outcome.code, 7)
            self.assertEqual(
                outcome.err.splitlines()[-1],
                "blobman: sync: not all is in step: 1 that do not verify"
                " (blobman status FAILED_DOWNLOAD lists them)",
            )
        self.assertEqual((await self.succeed("get", "a")).out, "a")
        await self.succeed("get", "b", "--secret-file", self.other)
        self.assertEqual((await self.run_command("sync")).code, 0)

    async def test_what_the_server_refused(self) -> None:
        await self.put(b"theirs", "--id", "a")
        self.another_machine()
        await self.run_command("put", self.write("a", b"ours"), "--id", "a")
        outcome = await self.run_command("sync")
        self.assertEqual(outcome.code, 1)
        self.assertIn("1 refused by the server", outcome.err)
        self.assertIn("blobman status FAILED_UPLOAD lists them", outcome.err)

    async def test_another_namespace(self) -> None:
        await self.put(b"a", "--id", "a", "-n", "one")
        await self.put(b"b", "--id", "b", "-n", "one", "--secret-file", self.other)
        self.another_machine()
        for _ in range(2):
            outcome = await self.run_command("sync", "-n", "one", "-n", "two")
            self.assertEqual(outcome.code, 7)
        self.assertIn("not all in namespace one is in step", outcome.err)

    async def test_another_secret_is_noticed_at_once(self) -> None:
        for number in range(9):
            await self.put(b"x", "--id", str(number))
        self.another_machine()
        line = await self.refuse(9, "sync", "--secret-file", self.other)
        self.assertIn("sealed with another secret than the one of this machine", line)
        self.assertEqual((await self.succeed("status")).out, "")
        self.assertEqual(
            (await self.run_command("sync")).err.splitlines()[-1], "9 in step; 9 fetched"
        )

    async def test_some_damaged_blobs_do_not_make_another_secret(self) -> None:
        await self.put(b"a", "--id", "a", "--secret-file", self.other)
        await self.put(b"b", "--id", "b", "--secret-file", self.other)
        await self.put(b"c", "--id", "c")
        self.another_machine()
        outcome = await self.run_command("sync")
        self.assertEqual(outcome.code, 7)
        self.assertEqual((await self.succeed("ls")).lines, ["c"])


class _Portal(Protocol):
    """Wants a login, whatever is asked."""

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        page = b"<html>Log in to use the net</html>"
        self.transport.write(
            b'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm="Hotel"\r\n'
            b"Content-Type: text/html\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
            % (len(page), page)
        )
        self.transport.loseConnection()


class WatchTests(ServerCase):
    def watch(self) -> Process:
        settings = {name: it for name, it in os.environ.items() if name.startswith("BLOBMAN_")}
        process = Process(["-m", "blobman", "sync", "--watch", "1"], settings)
        self.addCleanup(process.kill)
        return process

    async def begin_with_portal(self, listen: str, scheme: str) -> tuple[Any, int]:
        """Have something else where the server is going to be."""
        await self.service.stopService()
        factory = Factory.forProtocol(_Portal)
        portal: Any = await serverFromString(reactor, listen).listen(factory)
        port = portal.getHost().port
        self.let(remote=f"{scheme}://127.0.0.1:{port}/blobs/")
        return portal, port

    async def check_that_it_goes_on(self, process: Process) -> None:
        await process.when_written(b"0 in step")
        process.process.signalProcess("TERM")
        self.assertEqual(await process.ended, 143)
        self.assertNotIn(b"Traceback", process.err)

    async def test_a_captive_portal_is_passed(self) -> None:
        loopback = "interface=127.0.0.1"
        listen = f"tcp:{own_port(self)}:{loopback}"
        portal, port = await self.begin_with_portal(listen, "http")
        process = self.watch()
        await process.when_written(b"a login page or a proxy?")
        await portal.stopListening()
        await self.serve_at(f"tcp:{port}:{loopback}")
        await self.check_that_it_goes_on(process)

    async def test_a_certificate_of_somebody_else_is_waited_out(self) -> None:
        os.mkdir(self.path("portal"))
        now = datetime.datetime.now(datetime.timezone.utc)
        certificates = make_certificates(self.path("portal"), now)
        portal, port = await self.begin_with_portal(
            tls_endpoint(own_port(self), certificates), "https"
        )
        process = self.watch()
        await process.when_written(b"certificate")
        await portal.stopListening()
        await self.serve_at(tls_endpoint(port, self.certificates))
        await self.check_that_it_goes_on(process)
        self.assertEqual(process.err.count(b"certificate"), 1)

    async def test_without_watching_a_certificate_ends_it(self) -> None:
        self.let(ca="")
        self.assertIn("certificate", await self.refuse(5, "sync"))

    async def test_the_servers_own_refusal_ends_it(self) -> None:
        self.let(token_file=self.write("other", b"mellon"))
        process = self.watch()
        self.assertEqual(await process.ended, 5)
        self.assertIn(b"401", process.err)
