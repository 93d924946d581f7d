"""The connections to the server: TLS trust, the keep-alive pool, the token."""

from __future__ import annotations

# Looking a host up imports it: here, so that no request in the reactor's thread is held up.
import encodings.idna  # noqa: F401
import os
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.ssl import Certificate, trustRootFromCertificates
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IPolicyForHTTPS, IResponse
from zope.interface import implementer

from ..protocol import write_authorization
from .pool import Pool

CONNECT_TIMEOUT = 30.0
"""Seconds until an attempt to connect is given up."""


def tls_policy(cert_file: str | os.PathLike[str] | None) -> IPolicyForHTTPS:
    """
    Decide whom to trust.

    :param cert_file: a PEM file of the only authorities to trust (one or more
        certificates); None for those of the platform.
    :raise OSError: the file can't be read.
    :raise ValueError: there is no certificate in it.
    """
    if cert_file is None:
        return BrowserLikePolicyForHTTPS()
    with open(cert_file, "rb") as file:
        pem = file.read()
    try:
        authorities = x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise ValueError(f"cert_file {os.fspath(cert_file)!r} holds no PEM certificate") from error
    loaded = [Certificate.loadPEM(one.public_bytes(Encoding.PEM)) for one in authorities]
    return BrowserLikePolicyForHTTPS(trustRoot=trustRootFromCertificates(loaded))


@implementer(IAgent)
class _SealedBlobsAgent:
    """
    Adds the token, and keeps bodies as they are.

    treq asks for gzip and unpacks it. Sealed blobs do not shrink, a ``Range`` or a length would
    no longer be that of the blob, and a small answer could unpack into an endless one.
    """

    def __init__(self, agent: IAgent, authorization: str | None) -> None:
        self._agent = agent
        self._authorization = authorization

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        headers = Headers() if headers is None else headers.copy()
        headers.setRawHeaders(b"accept-encoding", [b"identity"])
        if self._authorization is not None:
            headers.setRawHeaders(b"authorization", [self._authorization.encode("ascii")])
        requested: Deferred[IResponse] = self._agent.request(method, uri, headers, bodyProducer)
        return requested.addCallback(_undecoded)


def _undecoded(response: IResponse) -> IResponse:
    response.headers.removeHeader(b"content-encoding")
    return response


class Connections:
    """
    The connections of one user to a server.

    :ivar http: the treq client to make requests with.
    """

    def __init__(
        self,
        reactor: Any,
        user: str,
        token: str | None,
        cert_file: str | os.PathLike[str] | None,
    ) -> None:
        """
        Nothing is connected yet.

        :raise OSError: ``cert_file`` can't be read.
        :raise ValueError: ``cert_file`` holds no certificate.
        """
        self._reactor = reactor
        self._pool: HTTPConnectionPool = Pool(reactor)
        agent = Agent(
            reactor, tls_policy(cert_file), connectTimeout=CONNECT_TIMEOUT, pool=self._pool
        )
        authorization = None if token is None else write_authorization(user, token)
        self.http = HTTPClient(_SealedBlobsAgent(agent, authorization))

    def close(self) -> Deferred[None]:
        """
        Close the connections that are not in use.

        :return: fires when they are closed.
        """
        # An exchange that has just ended gives its connection to the pool a moment later.
        turn: Deferred[None] = Deferred()
        self._reactor.callFromThread(turn.callback, None)
        return turn.addCallback(lambda _: self._pool.closeCachedConnections())
