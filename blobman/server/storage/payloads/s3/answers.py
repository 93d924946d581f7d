"""What an object store answers, and what that means."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple
from xml.etree import ElementTree

from twisted.web.http_headers import Headers

from ...interface import UnavailableError

PASSING = (500, 502, 503, 504, 429)
"""The statuses of troubles that may pass."""

_PASSING_CODES = {
    "InternalError",
    "OperationAborted",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
}

OLD_CREDENTIALS = ("ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "TokenRefreshRequired")
"""The codes of refusals that newer credentials may end."""

LONGEST_WAIT = 3600
"""Seconds that a store can have others wait at most."""

Element = ElementTree.Element

_CODE = re.compile(r"\w{1,64}", re.ASCII)
_SIZE = re.compile(r"[0-9]{1,18}")

_NO_STORE = "what answers is no object store"

SOON = 5
"""Seconds after which clients may ask again, if the store does not say."""


class MaybeLaterError(UnavailableError):
    """
    A trouble that may pass in a moment: the same may be asked again.

    :ivar pause: the seconds that the store asks to wait; 0 if it does not say.
    """

    def __init__(self, message: str, pause: int = 0) -> None:
        super().__init__(message, pause or SOON)
        self.pause = pause


class Answer(NamedTuple):
    """
    An answer.

    :ivar body: all of it.
    """

    status: int
    headers: Headers
    body: bytes

    def header(self, name: str) -> str:
        """Give a header; empty if there is none."""
        return header_of(self.headers, name)

    @property
    def code(self) -> str:
        """The store's name for what is wrong; empty if it does not say."""
        try:
            root = self.xml()
        except UnavailableError:
            return ""
        return code_of(root) if name_of(root) == "Error" else ""

    def xml(self) -> Element:
        """
        Read the body.

        :raise UnavailableError: it is no XML that a store would send.
        """
        try:
            return ElementTree.fromstring(self.body, ElementTree.XMLParser(target=_Builder()))
        except (ElementTree.ParseError, LookupError, ValueError) as error:
            # The last two are of encodings that are not known, or not read.
            raise UnavailableError(_NO_STORE, SOON) from error


class _Builder(ElementTree.TreeBuilder):
    """Takes no document type, in whatever encoding: its entities may stand for far more."""

    def doctype(self, *_: object) -> None:
        raise UnavailableError(_NO_STORE, SOON)


def header_of(headers: Headers, name: str) -> str:
    """Give a header; empty if there is none."""
    values = headers.getRawHeaders(name)
    return values[0] if values else ""


def name_of(element: Element) -> str:
    """Give an element's name. Some stores have them in a namespace, and some have not."""
    return element.tag.rpartition("}")[2]


def children_of(element: Element, name: str) -> Iterator[Element]:
    """Find the elements of this name right in another one."""
    return (child for child in element if name_of(child) == name)


def text_of(element: Element, name: str) -> str:
    """Give the text of the first element of this name right in another one; empty if none is."""
    for child in children_of(element, name):
        return child.text or ""
    return ""


def code_of(element: Element) -> str:
    """Give the code of an error; empty if there is none, or what would be odd in a message."""
    code = text_of(element, "Code")
    return code if _CODE.fullmatch(code) else ""


def read_size(text: str) -> int | None:
    """Read a number of bytes; None if it is none."""
    return int(text) if _SIZE.fullmatch(text) else None


def time_of(element: Element, name: str) -> float:
    """
    Give the time in the first element of this name right in another one.

    :return: seconds since the epoch; infinite if it is none: nothing is to be taken for old.
    """
    text = text_of(element, name).replace("Z", "+00:00")
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return math.inf


def refusal(answer: Answer, host: str) -> UnavailableError:
    """Say what an answer means that is not the one that was wanted."""
    code = answer.code
    told = f"{host} answers {answer.status}{' ' if code else ''}{code}"
    if code == "RequestTimeTooSkewed":
        told += ": its clock and this machine's differ"
    if answer.status in (301, 307) or code == "AuthorizationHeaderMalformed":
        told += ": the bucket is elsewhere, or in another region"
    pause = _pause_of(answer)
    if _may_pass(answer, code):
        return MaybeLaterError(told, pause)
    return UnavailableError(told, pause or SOON)


def _may_pass(answer: Answer, code: str) -> bool:
    return answer.status in PASSING or code in _PASSING_CODES


def _pause_of(answer: Answer) -> int:
    text = answer.header("retry-after")
    is_number = text.isascii() and text.isdigit() and len(text) < 10
    return min(int(text), LONGEST_WAIT) if is_number else 0
