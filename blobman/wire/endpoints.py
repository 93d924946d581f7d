"""How to connect to a server: by its name as it is, and over TLS that checks it."""

from __future__ import annotations

# Looking a host up imports it: here, so that no request in the reactor's thread is held up.
import encodings.idna  # noqa: F401
from typing import Any

from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.web.client import URI
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from .tls import Trust

CONNECT_TIMEOUT = 30.0
"""Seconds until an attempt to connect is given up."""


class _Endpoint(HostnameEndpoint):
    """Takes hosts as they are: Twisted refuses ``blob_server``, which no standard allows either."""

    @staticmethod
    def _hostAsBytesAndText(host: bytes | str) -> tuple[bool, bytes, str]:
        text = host if isinstance(host, str) else host.decode("ascii")
        return False, text.encode("ascii"), text


@implementer(IAgentEndpointFactory)
class Endpoints:
    """Says how to connect to a server."""

    def __init__(self, reactor: Any, trust: Trust) -> None:
        self._reactor = reactor
        self._trust = trust

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """Say how to connect to the server of a URL; see ``IAgentEndpointFactory``."""
        host = uri.host.decode("ascii")
        endpoint = _Endpoint(self._reactor, host, uri.port, timeout=CONNECT_TIMEOUT)
        if uri.scheme == b"https":
            return wrapClientTLS(self._trust.creator(host), endpoint)
        return endpoint
