"""Servers that speak TLS, or anything else, and note what they receive."""

from __future__ import annotations

import os
from typing import Any

from cryptography import x509
from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint, wrapServerTLS
from twisted.internet.interfaces import IHostnameResolver, IHostResolution, IResolutionReceiver
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import CertificateOptions, PrivateCertificate
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from blobman import BlobManager

from ..certificates import Authority
from ..ports import own_port
from ..support import SECRET, USER, authority

ANSWER = b'HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{"count": 0}'

_reactor: Any = reactor


class Recorder(Factory):
    """
    Answers a count to whatever comes.

    :ivar received: every byte that came, over all connections.
    """

    noisy = False

    def __init__(self, greeting: bytes = b"", answer: bytes = ANSWER) -> None:
        self.greeting = greeting
        self.answer = answer
        self.received = b""
        self.connections = 0

    def buildProtocol(self, address: object) -> Protocol:
        self.connections += 1
        return _Recording(self)


class _Recording(Protocol):
    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def connectionMade(self) -> None:
        if self._recorder.greeting:
            self.transport.write(self._recorder.greeting)  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        self._recorder.received += data
        self.transport.write(self._recorder.answer)  # type: ignore[union-attr]
        self.transport.loseConnection()  # type: ignore[union-attr]


@implementer(IHostResolution)
class _Resolution:
    name = "everything"

    def cancel(self) -> None:
        """Too late: it is done when it begins."""


@implementer(IHostnameResolver)
class EverythingIsHere:
    """
    Finds every host on this machine.

    :ivar asked: the hosts that were looked up.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        *args: object,
        **more: object,
    ) -> IHostResolution:
        self.asked.append(hostName)
        resolution = _Resolution()
        resolutionReceiver.resolutionBegan(resolution)
        address = IPv6Address if ":" in hostName else IPv4Address
        place = "::1" if ":" in hostName else "127.0.0.1"
        resolutionReceiver.addressResolved(address("TCP", place, portNumber))
        resolutionReceiver.resolutionComplete()
        return resolution


def tls_with(path: str, **options: Any) -> CertificateOptions:
    """
    Make what a server begins TLS with.

    :param path: the file of its key and certificate.
    :param options: of Twisted's class.
    """
    with open(path, "rb") as file:
        own = PrivateCertificate.loadPEM(file.read())
    return CertificateOptions(own.privateKey.original, own.original, **options)


class ListeningTestCase(TestCase):
    """Clients that trust one authority, and servers that may have any certificate."""

    def setUp(self) -> None:
        self.folder = os.path.abspath(self.mktemp())
        os.makedirs(self.folder)
        self.resolver = EverythingIsHere()
        installed = _reactor.installNameResolver(self.resolver)
        self.addCleanup(_reactor.installNameResolver, installed)
        self._files = 0
        self._ports: list[Any] = []

    def path(self) -> str:
        """Name a new file."""
        self._files += 1
        return os.path.join(self.folder, f"{self._files}.pem")

    async def listen(self, factory: Factory[Any], tls: Any = None, ipv6: bool = False) -> int:
        """
        Listen on loopback.

        :param tls: what TLS is begun with; None for none.
        :return: the port.
        """
        kind = TCP6ServerEndpoint if ipv6 else TCP4ServerEndpoint
        host = "::1" if ipv6 else "127.0.0.1"
        endpoint: Any = kind(_reactor, own_port(self, host), interface=host)
        if tls is not None:
            endpoint = wrapServerTLS(tls, endpoint)
        port: Any = await endpoint.listen(factory)
        self._ports.append(port)
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        return number

    async def stop_listening(self) -> None:
        """Stop all that listens."""
        for port in self._ports:
            await port.stopListening()

    def tls(
        self,
        extensions: list[x509.ExtensionType] | None = None,
        signer: Authority | None = None,
        issue: dict[str, Any] | None = None,
        **options: Any,
    ) -> CertificateOptions:
        """
        Make what a server begins TLS with.

        :param extensions: of its certificate; None for the address 127.0.0.1.
        :param issue: what else its certificate has.
        :param options: of Twisted's class.
        """
        path = (signer or authority()).issue(self.path(), extensions=extensions, **(issue or {}))
        return tls_with(path, **options)

    def manager(self, port: int, host: str = "127.0.0.1", **options: Any) -> BlobManager:
        """Make a manager without a store that has the token ``the-token``. It is closed."""
        arguments: dict[str, Any] = {
            "local_path": None,
            "remote": f"https://{host}:{port}/blobs/",
            "key": None,
            "secret": SECRET,
            "user": USER,
            "token": "the-token",
            "cert_file": authority().write(self.path()),
        }
        manager = BlobManager(**{**arguments, **options})
        self.addCleanup(manager.close)
        return manager
