"""
Which answers are a blobs server's, and which error each is.

A status alone is nobody's word: login pages, proxies and wrong URLs answer with any of them. An
answer counts if its status, its body and its headers are those of a blobs server: ours says so in
the header :data:`ANSWER_HEADER`; older ones, and Soledad's, have bodies that are known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

from ..errors import (
    BlobAlreadyExistsError,
    BlobError,
    BlobNotFoundError,
    CursorExpiredError,
    InvalidFlagsError,
    QuotaExceededError,
    RetriableTransferError,
    ServerError,
    UnauthorizedError,
    describe,
)
from .headers import read_retry_after

ANSWER_HEADER = "Blobs-Answer"
"""The header in which our server says what it answers, in one word."""

DONE = "done"
"""The word of a success."""

REFUSED = "refused"
"""The word of a refusal that has no word of its own."""


@dataclass(frozen=True)
class Subject:
    """
    What a request is about.

    :ivar action: what is done, to begin messages with ("put", "get").
    :ivar blob_id: the blob that it is done with; empty if there is none.
    """

    action: str
    blob_id: str = ""
    namespace: str = ""

    @property
    def title(self) -> str:
        """How messages about it begin."""
        if not self.blob_id:
            return self.action
        return f"{self.action} {describe(self.blob_id, self.namespace)}"


@dataclass(frozen=True)
class Answer:
    """
    What came in answer to a request.

    :ivar headers: the first value of each, by its name in lower case.
    :ivar body: all of it, or its beginning.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def word(self) -> str:
        """What our server says in :data:`ANSWER_HEADER`; empty if it is not there."""
        return self.headers.get(ANSWER_HEADER.lower(), "")


class Refused(NamedTuple):
    """
    An answer with a meaning of its own.

    :ivar word: what our server says in :data:`ANSWER_HEADER`.
    :ivar text: how its body begins.
    :ivar original: how the body of Soledad's begins; None if any text that is not HTML will do.
    :ivar error: what it is to a client.
    :ivar reason: what the client is told.
    """

    status: int
    word: str
    text: str
    original: str | None
    error: type[BlobError]
    reason: str


REFUSALS = (
    Refused(
        401,
        "unauthorized",
        "a valid token is needed",
        "Unauthorized",
        UnauthorizedError,
        "the server does not accept the token",
    ),
    Refused(
        403,
        "forbidden",
        "this is another user's",
        "this is another user's",
        UnauthorizedError,
        "the server does not allow this user that",
    ),
    Refused(
        404,
        "no-such-blob",
        "no such blob",
        "Blob doesn't exist: {blob_id}",
        BlobNotFoundError,
        "the server does not have it",
    ),
    Refused(
        406,
        "invalid-flag",
        "not a JSON list of PENDING, PROCESSING, PROCESSED, FAILED",
        "Invalid flag: ",
        InvalidFlagsError,
        "the server does not know such a flag",
    ),
    Refused(
        409,
        "exists",
        "there is a blob of that name",
        "Blob already exists: {blob_id}",
        BlobAlreadyExistsError,
        "the server has one of that name already",
    ),
    Refused(
        410,
        "cursor-expired",
        "the cursor is of another history",
        "the cursor is of another history",
        CursorExpiredError,
        "the server's history is not the one that the cursor is of",
    ),
    Refused(
        507,
        "quota",
        "the user's space is used up",
        None,
        QuotaExceededError,
        "the space on the server is used up",
    ),
)
"""The refusals that are not the same as what their status says to everybody."""

_PASSING_4XX = frozenset({408, 425, 429})
_LASTING_5XX = frozenset({501, 505, 506, 507, 508, 510, 511})


def may_pass(status: int) -> bool:
    """
    Whether an answer with this status may be another one next time, whoever it is from.

    One that is not known is taken as the x00 of its class.
    """
    return status in _PASSING_4XX or (500 <= status < 600 and status not in _LASTING_5XX)


def answer_error(answer: Answer, subject: Subject) -> BlobError:
    """
    Say which error an answer is.

    :param answer: its status is not that of a success.
    """
    for refused in REFUSALS:
        if _says(answer, refused, subject.blob_id):
            return refused.error(f"{subject.title}: {refused.reason} ({answer.status})")
    if may_pass(answer.status):
        return RetriableTransferError(
            f"{subject.title}: the server can't at the moment ({answer.status})",
            read_retry_after(answer.headers.get("retry-after")),
        )
    passing = not answer.word and answer.status != 413
    text = f"{subject.title}: {_in_words(answer)}"
    return ServerError(text, answer.status, may_pass=passing)


def _says(answer: Answer, refused: Refused, blob_id: str) -> bool:
    if answer.status != refused.status:
        return False
    if answer.word:
        return answer.word == refused.word
    if refused.status == 401 and not _asks_for_token(answer):
        return False
    if refused.original is None:
        return what_came(answer.body) != "HTML"
    beginnings = (refused.text, refused.original.format(blob_id=blob_id))
    return answer.body.decode("latin-1").startswith(beginnings)


def _asks_for_token(answer: Answer) -> bool:
    scheme, _, _ = answer.headers.get("www-authenticate", "").partition(" ")
    return scheme.lower() == "token"


def _in_words(answer: Answer) -> str:
    status = answer.status
    if 300 <= status < 400 and "location" in answer.headers:
        return f"a redirect ({status}) to {_place(answer)}, which is not followed"
    if status in (404, 405):
        return (
            f"there is nothing at that URL ({status}); check it: the server's blobs are at one "
            "such as https://host/blobs/"
        )
    if status == 413:
        who = "the server" if answer.word else "something between here and the server"
        return f"{who} takes no body of that size (413)"
    if answer.word or what_came(answer.body) != "HTML":
        return f"the server answered {status}"
    return f"HTML instead of the server's answer ({status}): a login page or a proxy?"


def _place(answer: Answer) -> str:
    """Name where a redirect leads, without what may be secret."""
    try:
        scheme, host, path, _, _ = urlsplit(answer.headers["location"])
    except ValueError:
        return "a place that is no URL"
    return repr(urlunsplit((scheme, host.rpartition("@")[2], path, "", ""))[:200])


def what_came(body: bytes) -> str:
    """Name what a body is that is not what was wanted."""
    text = body.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text:
        return "nothing"
    return "HTML" if text.startswith(b"<") else "something else"


def strange_answer(
    answer: Answer, subject: Subject, wanted: str, fault: object = ""
) -> ServerError:
    """
    Say that a success is not the server's.

    :param wanted: what it would have been ("a list").
    :param fault: what is wrong with a body that is neither empty nor HTML.
    """
    came = what_came(answer.body)
    why = "a login page or a proxy?" if came == "HTML" or not fault else fault
    text = f"{subject.title}: {came} instead of {wanted} ({answer.status}): {why}"
    return ServerError(text, answer.status, may_pass=True)
