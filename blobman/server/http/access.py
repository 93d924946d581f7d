"""One report for each request: a structured line in the log, and whatever else wants it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.logger import Logger

_log = Logger()
_LONGEST = 600
_WHOSE = " (user={user} request={request_id})"

ID_BYTES = 6
"""Bytes of randomness in the id of a request."""

UNKNOWN = "-"
"""What stands in a report for what is not known: the method, say, if that could not be read."""

CLIENT_GONE = 499
"""What is reported, and never sent, when the client went away before it was answered."""


@dataclass(frozen=True)
class Report:
    """
    What became of a request.

    :ivar request_id: what all log lines of the request have; see :class:`RequestLog`.
    :ivar peer: the address that it came from; :data:`UNKNOWN` for a socket that has none.
    :ivar method: what the client sent; or :data:`UNKNOWN`.
    :ivar path: likewise; without the query, cut if it is very long.
    :ivar user: who asked, once known; else empty.
    :ivar code: the status that was answered; 499 if the client went away before.
    :ivar received: bytes of the body that came.
    :ivar sent: bytes of the answer's body.
    :ivar seconds: from the first line to the end, without those in which it waited for changes.
    """

    request_id: str
    peer: str
    method: str
    path: str
    user: str
    code: int
    received: int
    sent: int
    seconds: float


class RequestLog:
    """
    The log of one request: every line has its id and its user.

    :ivar request_id: drawn for this request.
    :ivar user: who asks, once that is known; else empty.
    """

    def __init__(self) -> None:
        self.request_id = secrets.token_hex(ID_BYTES)
        self.user = ""

    def error(self, text: str, **fields: object) -> None:
        """Log what an administrator should see to."""
        _log.error(text + _WHOSE, request_id=self.request_id, user=self.user or UNKNOWN, **fields)

    def failure(self, text: str) -> None:
        """Log the exception that is being handled, with its traceback."""
        _log.failure(text + _WHOSE, request_id=self.request_id, user=self.user or UNKNOWN)


Observer = Callable[[Report], None]


def log_report(report: Report) -> None:
    """Write a line."""
    _log.info(
        "{peer} {method} {path} {code} user={user} request={request_id} received={received} "
        "sent={sent} seconds={seconds:.3f}",
        **{**vars(report), "user": report.user or UNKNOWN},
    )


def shown(path: bytes) -> str:
    """Make a path fit for a line, and for a terminal."""
    text = path[:_LONGEST].decode("ascii", "backslashreplace")
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def peer_of(transport: Any) -> str:
    """Name the address that a connection comes from, without its port."""
    return str(getattr(transport.getPeer(), "host", None) or UNKNOWN)
