"""Errors as statuses: which error is answered how."""

from __future__ import annotations

from collections.abc import Iterable

from ...errors import ClosedError, InvalidBlob, StoreError
from ...protocol import REFUSALS, REFUSED, ProtocolError
from ..accounts.admission import TooMuchAtOnceError
from ..storage.interface import DamagedError, UnavailableError
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
    if isinstance(error, StoreError):
        log.error("A request was refused: {reason}", reason=str(error))
        if isinstance(error, DamagedError):
            return Refusal(500, "what is stored there is damaged")
        wait = error.retry_after if isinstance(error, UnavailableError) else 60
        return Refusal(503, "the server can't do that at the moment", [("Retry-After", str(wait))])
    log.failure("A request failed")
    return Refusal(500, "the server failed")
