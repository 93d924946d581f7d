"""What went wrong on the way to the server, as one of our errors."""

from __future__ import annotations

import os
from collections.abc import Iterator

from twisted.internet.defer import CancelledError
from twisted.internet.error import (
    ConnectError,
    ConnectingCancelledError,
    ConnectionClosed,
    DNSLookupError,
    TimeoutError,
)
from twisted.python.failure import Failure
from twisted.web._newclient import RequestNotSent
from twisted.web.client import URI, ResponseFailed
from twisted.web.http import PotentialDataLoss

from ..errors import BlobError, RetriableTransferError, ServerError
from .tls import TLSFailed


class RequestFailed(Exception):
    """
    A request had no answer, or only a part of one.

    :ivar server: the host, and the port if the URL has one.
    :ivar reason: why, as Twisted has it.
    """

    def __init__(self, server: str, reason: BaseException) -> None:
        super().__init__(f"{server}: {reason}")
        self.server = server
        self.reason = reason


def server_of(url: bytes) -> str:
    """Give the host in a URL, and the port if it has one."""
    netloc: bytes = URI.fromBytes(url).netloc
    return netloc.decode("ascii")


def causes(error: BaseException) -> Iterator[BaseException]:
    """Walk through an error and all that was wrapped into it (``reasons`` of Twisted's)."""
    yield error
    if isinstance(error, RequestFailed):
        yield from causes(error.reason)
    for reason in getattr(error, "reasons", None) or ():
        cause = reason.value if isinstance(reason, Failure) else reason
        if isinstance(cause, BaseException):
            yield from causes(cause)


def cause(error: BaseException) -> BaseException:
    """Give what Twisted said of a failed request, to be chained to what we say."""
    return error.reason if isinstance(error, RequestFailed) else error


def name_server(action: str, error: BaseException) -> str:
    """
    Say which server a request went to, as far as the error tells.

    :param action: what was being done.
    :return: how a message about that begins.
    """
    for each in (error, error.__cause__):
        if isinstance(each, RequestFailed):
            return f"{action}: {each.server}"
    return action


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
    action = name_server(action, error)
    for each in inner:
        if isinstance(each, TLSFailed):
            return each.error.about(action)
        if isinstance(each, _BROKEN_OFF):
            return RetriableTransferError(f"{action}: {_in_words(each)}")
    if any(isinstance(each, ResponseFailed) for each in inner):
        # Whatever it is that Twisted's parser, and what it uses, raised at it.
        return ServerError(f"{action}: the answer is not HTTP", may_pass=True)
    return inner[-1]


def _in_words(error: BaseException) -> str:
    """Say it shortly where Twisted says it twice, or in words of its own."""
    if isinstance(error, ConnectError) and isinstance(error.osError, int):
        return os.strerror(error.osError)
    if isinstance(error, TimeoutError):
        return "the connection could not be made in time"
    if isinstance(error, DNSLookupError):
        return "the address of this host was not found"
    if isinstance(error, ConnectionClosed):
        return "the connection was closed"
    return str(error).strip().rstrip(".") or type(error).__name__
