"""Servers that end TLS, and servers that do not speak it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import TLSVersion, trustRootFromCertificates

from blobman import (
    BlobError,
    CertificateError,
    RetriableTransferError,
    ServerError,
    SyncStatus,
)
from blobman.transfers.retry import STRANGE_ATTEMPTS, is_retriable

from ..support import KEY, MB, content, doc
from .listening import ListeningTestCase, Recorder

CERTIFICATE_ALERTS = (42, 43, 44, 45, 46, 48, 49, 116)


class Alerting(Protocol):
    """Answers the first thing that comes with an alert, in the clear as at the very beginning."""

    def __init__(self, alert: int) -> None:
        self._record = bytes([21, 3, 3, 0, 2, 2, alert])

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(self._record)  # type: ignore[union-attr]
        self.transport.loseConnection()  # type: ignore[union-attr]


class AlertTests(ListeningTestCase):
    async def after(self, alert: int) -> BlobError:
        factory = Factory.forProtocol(lambda: Alerting(alert))
        factory.noisy = False
        port = await self.listen(factory)
        with self.assertRaises(BlobError) as caught:
            await self.manager(port, "localhost").count()
        error: BlobError = caught.exception
        self.assertIn(f"localhost:{port}: the server ", str(error))
        return error

    async def test_it_wants_a_client_certificate(self) -> None:
        for alert in CERTIFICATE_ALERTS:
            error = await self.after(alert)
            self.assertIsInstance(error, CertificateError, alert)
            self.assertIn("client certificate", str(error))

    async def test_it_does_not_know_the_name(self) -> None:
        error = await self.after(112)
        self.assertIsInstance(error, CertificateError)
        self.assertIn("no certificate for localhost", str(error))

    async def test_it_speaks_another_version(self) -> None:
        for alert in (70, 71):
            error = await self.after(alert)
            self.assertIsInstance(error, ServerError)
            self.assertIn("no version of TLS", str(error))

    async def test_it_does_not_say_why(self) -> None:
        error = await self.after(40)
        self.assertIsInstance(error, CertificateError)
        self.assertIn("version or cipher", str(error))
        self.assertIn("client certificate", str(error))

    async def test_any_other_may_pass_but_not_for_ever(self) -> None:
        for alert in (10, 20, 22, 47, 50, 51, 80, 86, 90, 109, 110, 113, 115, 120, 255):
            error = await self.after(alert)
            assert isinstance(error, ServerError), alert
            self.assertTrue(error.may_pass)
            self.assertFalse(is_retriable(error, STRANGE_ATTEMPTS))
            self.assertIn(f"(alert {alert})", str(error))


class ClientCertificateTests(ListeningTestCase):
    """The server wants to know the client: with TLS 1.3 it says so after the handshake."""

    VERSIONS = (
        {"lowerMaximumSecurityTo": TLSVersion.TLSv1_2},
        {"raiseMinimumTo": TLSVersion.TLSv1_3},
    )

    async def test_every_method_ends(self) -> None:
        for version in self.VERSIONS:
            recorder = Recorder()
            wants = self.tls(trustRoot=trustRootFromCertificates([]), **version)
            port = await self.listen(recorder, wants)
            manager = self.manager(port, local_path=self.mktemp(), key=KEY)
            for method in (manager.count, manager.sync, manager.remote_list):
                await self.refused(method())
            await self.refused(manager.put(doc(content(MB), "x"), MB))
            await self.refused(manager.send_missing())
            self.assertEqual(await manager.local_list_status(SyncStatus.PENDING_UPLOAD), ["x"])
            self.assertEqual(recorder.received, b"")

    async def refused(self, asked: Deferred[Any]) -> None:
        with self.assertRaises(CertificateError) as caught:
            await asked
        self.assertIn("client certificate", str(caught.exception))


class NotTLSTests(ListeningTestCase):
    async def test_another_protocol(self) -> None:
        for recorder in (
            Recorder(answer=b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
            Recorder(greeting=b"SSH-2.0-OpenSSH_9.2\r\n"),
            Recorder(greeting=b"\x00" * 100),
        ):
            port = await self.listen(recorder)
            with self.assertRaises(ServerError) as caught:
                await self.manager(port).count()
            self.assertIn("the server does not speak TLS there", str(caught.exception))
            self.assertNotIn(b"uthorization", recorder.received)

    async def test_what_is_hardly_tls(self) -> None:
        # A message of the handshake that is none.
        port = await self.listen(Recorder(greeting=b"\x16\x03\x03\x00\x04\xff\x00\x00\x00"))
        with self.assertRaises(ServerError) as caught:
            await self.manager(port).count()
        self.assertIn(f"127.0.0.1:{port}: TLS with the server failed (", str(caught.exception))
        self.assertFalse(is_retriable(caught.exception, STRANGE_ATTEMPTS))

    async def test_it_hangs_up(self) -> None:
        port = await self.listen(Recorder(answer=b""))
        with self.assertRaises(RetriableTransferError) as caught:
            await self.manager(port).count()
        self.assertIn(f"127.0.0.1:{port}", str(caught.exception))

    async def test_nobody_is_there(self) -> None:
        port = await self.listen(Recorder())
        await self.stop_listening()
        for scheme in ("http", "https"):
            manager = self.manager(port, "localhost", remote=f"{scheme}://localhost:{port}/blobs/")
            with self.assertRaises(RetriableTransferError) as caught:
                await manager.count()
            self.assertIn(f"count: localhost:{port}: ", str(caught.exception))
