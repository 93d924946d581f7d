"""TLS with the server: whom to trust, and that nothing is sent before its names are checked."""

from __future__ import annotations

import os
from functools import cached_property
from typing import Any

from cryptography import x509
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    platformTrust,
    trustRootFromCertificates,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from ..errors import BlobError, CertificateError
from .names import check_names, is_address
from .tlsproblems import alert_problem, chain_problem, other_problem

_VERIFY = SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT
_FATAL = 2


class TLSFailed(Exception):
    """
    TLS ended a connection, or did not let it begin.

    :ivar error: what to tell the caller.
    """

    def __init__(self, error: BlobError) -> None:
        super().__init__(str(error))
        self.error = error


class Trust:
    """The authorities that are trusted."""

    def __init__(self, cert_file: str | os.PathLike[str] | None) -> None:
        """
        Read them.

        :param cert_file: a PEM file of the only authorities to trust (one or more
            certificates); None for those of the platform.
        :raise OSError: the file can't be read.
        :raise ValueError: there is no certificate in it.
        """
        self._root = platformTrust() if cert_file is None else _read_authorities(cert_file)

    @cached_property
    def _context(self) -> SSL.Context:
        # Reading the platform's authorities takes milliseconds, which plain HTTP can do without.
        context: SSL.Context = CertificateOptions(trustRoot=self._root).getContext()
        context.set_info_callback(_note_alert)
        return context

    def creator(self, host: str) -> IOpenSSLClientConnectionCreator:
        """
        Give what begins TLS with a server.

        :param host: the name or address that its certificate has to have; in ASCII.
        """
        return _ConnectionCreator(self._context, host.removesuffix("."))


def _read_authorities(cert_file: str | os.PathLike[str]) -> Any:
    with open(cert_file, "rb") as file:
        pem = file.read()
    try:
        authorities = x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise ValueError(f"cert_file {os.fspath(cert_file)!r} holds no PEM certificate") from error
    return trustRootFromCertificates(
        [Certificate(crypto.X509.from_cryptography(one)) for one in authorities]
    )


@implementer(IOpenSSLClientConnectionCreator)
class _ConnectionCreator:
    """
    Begins TLS with a server.

    Twisted's own goes on when the check of the names fails in any way but a mismatch.
    """

    def __init__(self, context: SSL.Context, host: str) -> None:
        self._context = context
        self._host = host

    def clientConnectionForTLS(self, tlsProtocol: object) -> SSL.Connection:
        """See :class:`IOpenSSLClientConnectionCreator`."""
        return _Connection(self._context, self._host)


class _Connection(SSL.Connection):
    """
    A connection that knows whose it has to be.

    :ivar problem: why it can't be used; None if nothing is known against it.
    """

    def __init__(self, context: SSL.Context, host: str) -> None:
        super().__init__(context, None)
        self._host = host
        self.problem: BlobError | None = None
        if not is_address(host):
            self.set_tlsext_host_name(host.encode("ascii"))
        # Functions, not methods: a connection that holds itself waits for the garbage collector.
        self.set_verify(_VERIFY, _verify)

    def judge(self, certificate: crypto.X509, code: int, depth: int, trusted: bool) -> None:
        """
        Take in what OpenSSL says of a certificate of the server's chain.

        The server's own, at depth 0, comes last. Its names are checked then, before the handshake
        ends; whatever goes wrong with that is a reason not to go on.

        :param trusted: whether OpenSSL has nothing against it.
        """
        if not trusted:
            self.problem = chain_problem(code, depth)
        elif depth == 0:
            try:
                check_names(certificate.to_cryptography(), self._host)
            except CertificateError as error:
                self.problem = error
            except Exception as error:
                self.problem = CertificateError("the names in its certificate can't be read")
                self.problem.__cause__ = error

    def take_alert(self, alert: int) -> None:
        """Take in why the server ends TLS; the exception that follows has no number."""
        self.problem = self.problem or alert_problem(alert, self._host)


def _verify(
    connection: SSL.Connection, certificate: crypto.X509, code: int, depth: int, trusted: int
) -> bool:
    assert isinstance(connection, _Connection)
    connection.judge(certificate, code, depth, bool(trusted))
    return connection.problem is None


def _note_alert(connection: SSL.Connection, where: int, value: int) -> None:
    level, alert = value >> 8, value & 0xFF
    if where == SSL.SSL_CB_READ_ALERT and level == _FATAL and isinstance(connection, _Connection):
        connection.take_alert(alert)


def explain(connection: SSL.Connection, reason: Failure) -> Failure:
    """
    Say why a connection ended, if TLS is why.

    :param reason: why it ended, in Twisted's words.
    :return: one with :class:`TLSFailed`, or ``reason``.
    """
    problem = connection.problem if isinstance(connection, _Connection) else None
    if problem is None and isinstance(reason.value, SSL.Error):
        problem = other_problem(reason.value)
    return reason if problem is None else Failure(TLSFailed(problem))
