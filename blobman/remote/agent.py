"""The connections to the server: TLS trust, the keep-alive pool, the token."""

from __future__ import annotations

# Looking a host up imports it: here, so that no request in the reactor's thread is held up.
import encodings.idna  # noqa: F401
import os
from typing import Any

from hyperlink import EncodedURL
from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.client import Agent
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from ..protocol import ProtocolError, write_authorization
from ..wire.endpoints import Endpoints
from ..wire.failures import RequestFailed, server_of
from ..wire.pool import DiedUnusedError, Pool
from ..wire.tls import Trust


@implementer(IAgent)
class _SealedBlobsAgent:
    """
    Adds the token, keeps bodies as they are, keeps no cookies, and names the server in failures.

    treq asks for gzip and unpacks it. Sealed blobs do not shrink, a ``Range`` or a length would
    no longer be that of the blob, and a small answer could unpack into an endless one. And it
    sends every cookie that was ever set, until a server refuses so long a request.
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
        return requested.addCallbacks(_as_it_is, _name_server, errbackArgs=(uri,))


_ACTED_ON_BY_TREQ = (b"content-encoding", b"set-cookie", b"set-cookie2")


def _as_it_is(response: IResponse) -> IResponse:
    for header in _ACTED_ON_BY_TREQ:
        response.headers.removeHeader(header)
    return response


def _name_server(failure: Failure, uri: bytes) -> Failure:
    error = failure.value
    if error is None or isinstance(error, (DiedUnusedError, ProtocolError)):
        return failure
    return Failure(RequestFailed(server_of(uri), error))


class _ReadyURL(EncodedURL):
    """A URL with nothing left to encode. hyperlink would take an IPv6 address for a name."""

    def to_uri(self) -> _ReadyURL:
        return self


class Connections:
    """The connections of one user to a server."""

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
        self._pool = Pool(reactor)
        endpoints = Endpoints(reactor, Trust(cert_file))
        agent = Agent.usingEndpointFactory(reactor, endpoints, self._pool)
        authorization = None if token is None else write_authorization(user, token)
        self._http = HTTPClient(_SealedBlobsAgent(agent, authorization))

    def request(
        self, method: str, url: str, body: Any = None, headers: Headers | None = None
    ) -> Deferred[IResponse]:
        """
        Make a request. Redirections are not followed.

        :param url: in ASCII, with nothing left to encode.
        :param body: bytes, or an ``IBodyProducer``.
        :return: fires with the answer, its body still to come. Fails with
            :class:`RequestFailed`, or what :class:`.pool.Pool` adds.
        """
        requested: Any = self._http.request(
            method,
            _ReadyURL.from_text(url),
            data=body,
            headers=headers,
            allow_redirects=False,
            unbuffered=True,
        )
        answered: Deferred[IResponse] = requested
        return answered

    def close(self) -> Deferred[None]:
        """
        Close the connections that are not in use.

        :return: fires when they are closed.
        """
        return self._pool.close_idle()
