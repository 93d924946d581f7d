"""Errors as statuses: which error is answered how."""

from __future__ import annotations

import errno
from collections.abc import Iterable

from ...errors import ClosedError, InvalidBlob, StoreError
from ...protocol import REFUSALS, REFUSED, ProtocolError
from ..accounts.admission import TooMuchAtOnceError
from .access import RequestLog
from .body import BodyTooLargeError

Headers = Iterable[tuple[str, str]]
"""Names and values."""


class Refusal(Exception):
    """
    An answer that is not a success, decided on the spot.

    :ivar code: the HTTP status.
    :ivar word: what it is to a program, see :data:`ANSWER_HEADER`.
    :ivar headers: further headers, as pairs.
    """

    def __init__(self, code: int, text: str, headers: Headers = ()) -> None:
        super().__init__(text)
        self.code = code
        self.word = _WORDS.get((code, text), REFUSED)
        self.headers = tuple(headers)


_WORDS = {(refused.status, refused.text): refused.word for refused in REFUSALS}

_REFUSALS: tuple[tuple[type[Exception], int, str], ...] = (
    *((refused.error, refused.status, refused.text) for refused in REFUSALS),
    (BodyTooLargeError, 413, "the body is too long"),
    (ClosedError, 503, "the server is stopping"),
)


def refusal_for(error: Exception, log: RequestLog) -> Refusal:
    """
    Say how an error is answered. What was not expected is logged, and answered with 500.

    :param log: that of the request; is called while the error is being handled.
    """
    if isinstance(error, Refusal):
        return error
    if isinstance(error, (ProtocolError, InvalidBlob)):
        return Refusal(400, str(error))
    if isinstance(error, TooMuchAtOnceError):
        return Refusal(429, str(error), [("Retry-After", "1")])
    for kind, code, text in _REFUSALS:
        if isinstance(error, kind):
            return Refusal(code, text)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        log.error("The disk is full: {reason}", reason=error.strerror)
        return Refusal(503, "the server's disk is full", [("Retry-After", "60")])
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        log.error("Too many files are open: {reason}", reason=error.strerror)
        return Refusal(503, "the server has too much to do", [("Retry-After", "5")])
    if isinstance(error, StoreError):
        log.error("A request was refused: {reason}", reason=str(error))
        return Refusal(503, "the server has to be looked after", [("Retry-After", "60")])
    log.failure("A request failed")
    return Refusal(500, "the server failed")
