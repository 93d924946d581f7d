"""What went wrong on the way to the server, as one of our errors."""

from __future__ import annotations

from collections.abc import Iterator

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.defer import CancelledError
from twisted.internet.error import (
    ConnectError,
    ConnectingCancelledError,
    ConnectionClosed,
    DNSLookupError,
)
from twisted.python.failure import Failure
from twisted.web._newclient import RequestNotSent
from twisted.web.client import ResponseFailed
from twisted.web.http import PotentialDataLoss

from ..errors import BlobError, CertificateError, RetriableTransferError, ServerError

_NEVER_TLS = ("wrong version number", "http request", "packet length too long")
_NO_COMMON_TLS = ("unsupported protocol", "no protocols available", "handshake failure")


def causes(error: BaseException) -> Iterator[BaseException]:
    """Walk through an error and all that Twisted wrapped into it (``reasons``)."""
    yield error
    for reason in getattr(error, "reasons", None) or ():
        cause = reason.value if isinstance(reason, Failure) else reason
        if isinstance(cause, BaseException):
            yield from causes(cause)


def was_cancelled(error: BaseException) -> bool:
    """Whether it is what becomes of a cancelled request, at whatever point it was."""
    return any(isinstance(e, (CancelledError, ConnectingCancelledError)) for e in causes(error))


_BROKEN_OFF = (ConnectError, ConnectionClosed, DNSLookupError, PotentialDataLoss, RequestNotSent)


def transfer_error(error: BaseException, action: str) -> BaseException:
    """
    Turn a failed exchange into one of our errors.

    One of ours inside it comes out as it is, and so does what has nothing to do with the network:
    a mistake in the program is not to be tried again.

    :param action: what was being done, to begin the message with.
    """
    inner = list(causes(error))
    for each in inner:
        if isinstance(each, BlobError):
            return each
    for each in inner:
        if isinstance(each, VerificationError):
            return CertificateError(f"{action}: the certificate is not for this server")
        if isinstance(each, SSL.Error):
            return _tls_error(str(each), action)
        if isinstance(each, _BROKEN_OFF):
            return RetriableTransferError(f"{action}: {_in_words(each)}")
    if any(isinstance(each, ResponseFailed) for each in inner):
        # Whatever it is that Twisted's parser, and what it uses, raised at it.
        return ServerError(f"{action}: the answer is not HTTP", may_pass=True)
    return inner[-1]


def _tls_error(text: str, action: str) -> BlobError:
    if "certificate verify failed" in text:
        return CertificateError(f"{action}: the server's certificate is not from a trusted CA")
    if any(reason in text for reason in _NEVER_TLS):
        return ServerError(f"{action}: the server does not speak TLS there")
    if any(reason in text for reason in _NO_COMMON_TLS):
        return ServerError(f"{action}: the server speaks no version of TLS that we do")
    return RetriableTransferError(f"{action}: TLS with the server failed")


def _in_words(error: BaseException) -> str:
    text = str(error).strip().rstrip(".")
    return text or type(error).__name__
