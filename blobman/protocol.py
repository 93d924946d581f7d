"""
The blobs HTTP protocol without I/O: what client and server have to agree on.

URLs and query fields, the Authorization header, tags, ranges, flags, the
frames of ``stream/``, and which answer is which error. The whole protocol is
written down for a second implementer in ``docs/protocol.md``.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import quote, urlencode, urlsplit

from .errors import (
    BlobAlreadyExistsError,
    BlobError,
    BlobNotFoundError,
    InvalidFlagsError,
    QuotaExceededError,
    RetriableTransferError,
    ServerError,
    UnauthorizedError,
    describe,
)
from .model import Flags, is_name

DEFAULT_NAMESPACE = "default"
"""What the server calls the namespace when no field names one."""

TAG_SIZE = 16
"""Bytes of an authentication tag; a stored blob ends with it."""

TAG_TEXT_SIZE = 24
"""Characters of a tag as URL-safe base64, padded."""

PREAMBLE_SIZES = (736, 724)
"""Characters of a preamble as URL-safe base64: the present one, and the legacy one."""

MIN_SEALED_SIZE = min(PREAMBLE_SIZES) + 1
"""Bytes of the smallest thing that can be a sealed blob: a preamble, and the space after it."""

TRUE = "True"
"""How a truthy query field is written."""

ORDERS = ("date", "+date", "-date")
"""The values of the query field ``order_by``."""

RETRIABLE_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
"""Answers that may be another one next time."""

Query = dict[str, str]


class ProtocolError(ValueError):
    """A message is not what the protocol says. The text names what is wrong with it."""


# -- requests --------------------------------------------------------------------------


def blob_url(base: str, user: str, blob_id: str = "", query: Query | None = None) -> str:
    """
    Make the URL of a user's list, or of one blob.

    :param base: the base URL, with or without a slash at its end.
    :param query: the query fields; empty values are left out.
    """
    fields = urlencode({name: value for name, value in (query or {}).items() if value})
    url = f"{base.rstrip('/')}/{quote(user, safe='')}/{quote(blob_id, safe='')}"
    return f"{url}?{fields}" if fields else url


def stream_url(base: str, user: str, direction: str, namespace: str = "") -> str:
    """
    Make the URL of a stream.

    :param direction: ``upload`` or ``download``.
    """
    fields = {"direction": direction, **({"namespace": namespace} if namespace else {})}
    return f"{base.rstrip('/')}/{quote(user, safe='')}?{urlencode(fields)}"


@dataclass(frozen=True)
class ListQuery:
    """
    What a list is asked for.

    :ivar namespace: empty for the default one.
    :ivar order_by: one of :data:`ORDERS`, or None for the order of the ids.
    :ivar deleted: list tombstones instead of blobs.
    :ivar flag: only blobs that carry this flag.
    :ivar only_count: answer their number instead.
    """

    namespace: str = ""
    order_by: str | None = None
    deleted: bool = False
    flag: Flags | None = None
    only_count: bool = False

    def fields(self) -> Query:
        """Write it as query fields."""
        return {
            "namespace": self.namespace,
            "order_by": self.order_by or "",
            "deleted": TRUE if self.deleted else "",
            "filter_flag": self.flag.value if self.flag else "",
            "only_count": TRUE if self.only_count else "",
        }

    @classmethod
    def from_fields(cls, fields: Query) -> ListQuery:
        """
        Read it from query fields; fields that are not known are ignored.

        :raise ProtocolError: a field has a value that it can't have.
        """
        order_by = fields.get("order_by") or None
        if order_by is not None:
            # An unescaped "+" in a query is a space.
            order_by = order_by.replace(" ", "+", 1)
            if order_by not in ORDERS:
                raise ProtocolError(f"order_by must be one of {', '.join(ORDERS)}")
        flag = fields.get("filter_flag") or None
        if flag is not None and flag not in Flags.__members__:
            raise ProtocolError(f"filter_flag must be one of {', '.join(Flags.__members__)}")
        return cls(
            namespace=fields.get("namespace", ""),
            order_by=order_by,
            deleted=is_true(fields.get("deleted")),
            flag=Flags(flag) if flag else None,
            only_count=is_true(fields.get("only_count")),
        )


def is_true(field: str | None) -> bool:
    """Whether a query field is set: absent, empty, ``False`` and ``0`` are not."""
    return (field or "").lower() not in ("", "false", "0")


def write_authorization(user: str, token: str) -> str:
    """Make the value of the Authorization header."""
    return "Token " + base64.b64encode(f"{user}:{token}".encode()).decode("ascii")


def read_authorization(value: bytes) -> tuple[str, str]:
    """
    Take an Authorization header's value apart.

    :return: the user and the token.
    :raise ProtocolError: it is not one of ours.
    """
    scheme, _, encoded = value.partition(b" ")
    if scheme.lower() != b"token":
        raise ProtocolError("the authorization scheme must be Token")
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ProtocolError("the token is not base64") from error
    user, colon, token = text.partition(":")
    if not (user and colon and token):
        raise ProtocolError("the token must be base64 of user:token")
    return user, token


# -- tags and ranges -------------------------------------------------------------------


def write_tag(tag: bytes) -> str:
    """Write a tag as the ``Tag`` header has it."""
    return base64.urlsafe_b64encode(tag).decode("ascii")


def read_tag(text: str) -> bytes:
    """
    Read a ``Tag`` header.

    :raise ProtocolError: it is not the base64 of :data:`TAG_SIZE` bytes.
    """
    try:
        tag = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ProtocolError("the tag is not base64") from error
    # Decoding is lenient with the other alphabet and with spare bits.
    if write_tag(tag) != text:
        raise ProtocolError("the tag is not URL-safe base64")
    if len(tag) != TAG_SIZE:
        raise ProtocolError(f"the tag has {len(tag)} bytes instead of {TAG_SIZE}")
    return tag


_RANGE = re.compile(r"\s*bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*", re.ASCII | re.IGNORECASE)
_LONGEST_NUMBER = 20


def read_range(value: str, size: int) -> tuple[int, int] | None:
    """
    Read a ``Range`` header as RFC 9110 has it (section 14): the last byte is included.

    An end past the size is cut; ``bytes=-n`` asks for the last n bytes.

    :param size: the size in bytes of what is asked for.
    :return: the first byte, and the one after the last; or None if the header
        is to be ignored: another unit, several ranges, or not a range at all.
    :raise ProtocolError: there is nothing in that range (416).
    """
    match = _RANGE.fullmatch(value)
    if match is None or match.groups() == ("", ""):
        return None
    first_text, last_text = match.groups()
    first, last = (_read_position(text, size) if text else None for text in (first_text, last_text))
    if first is None:
        assert last is not None
        start, end = max(0, size - last), size
    else:
        if last is not None and last < first:
            return None
        start, end = first, size if last is None else min(last + 1, size)
    if start >= end:
        raise ProtocolError(f"no byte of {size} is in the range")
    return start, end


def _read_position(text: str, size: int) -> int:
    """Read digits; a number too long to be read is as good as any beyond the size."""
    digits = text.lstrip("0")
    return int(digits or "0") if len(digits) <= _LONGEST_NUMBER else size


# -- JSON bodies -----------------------------------------------------------------------


def read_json(body: bytes) -> object:
    """
    Parse a JSON body.

    :raise ProtocolError: it is not JSON in UTF-8.
    """
    try:
        return json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ProtocolError("the body is not JSON") from error


def write_flags(flags: Iterable[str]) -> bytes:
    """
    Write a list of flags as a body.

    :raise InvalidFlagsError: one of them is not a flag.
    """
    return json.dumps([check_flag(flag).value for flag in flags]).encode("ascii")


def read_flags(body: bytes) -> list[Flags]:
    """
    Read a list of flags.

    :raise InvalidFlagsError: it is not a list of flags.
    """
    try:
        flags = read_json(body)
    except ProtocolError as error:
        raise InvalidFlagsError("flags must be a JSON list") from error
    if not isinstance(flags, list):
        raise InvalidFlagsError("flags must be a JSON list")
    return [check_flag(flag) for flag in flags]


def check_flag(flag: object) -> Flags:
    """
    Take a flag as a member or by its name.

    :raise InvalidFlagsError: there is none like it.
    """
    if isinstance(flag, str) and flag in Flags.__members__:
        return Flags[flag]
    raise InvalidFlagsError(f"{flag!r:.40} is not one of {', '.join(Flags.__members__)}")


def write_ids(ids: Iterable[str]) -> bytes:
    """Write a list of ids as a body."""
    return json.dumps(list(ids)).encode("ascii")


def read_ids(body: bytes) -> list[str]:
    """
    Read a list of ids.

    :raise ProtocolError: it is not a list of names.
    """
    ids = read_json(body)
    if not isinstance(ids, list):
        raise ProtocolError("not a JSON list of ids")
    for blob_id in ids:
        if not isinstance(blob_id, str) or not is_name(blob_id):
            raise ProtocolError(f"not an id: {blob_id!r:.40}")
    return ids


def read_count(body: bytes) -> dict[str, int]:
    """
    Read the answer to a count.

    :raise ProtocolError: it is not ``{"count": N}``.
    """
    answer = read_json(body)
    count = answer.get("count") if isinstance(answer, dict) else None
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise ProtocolError('not {"count": N}')
    return {"count": count}


# -- answers ---------------------------------------------------------------------------


def read_retry_after(value: str | None) -> float | None:
    """
    Read a ``Retry-After`` header given in seconds; a date is not used.

    :return: seconds, or None if there is no such header or it can't be read.
    """
    if value is None or not re.fullmatch(r"\d{1,9}", value.strip(), re.ASCII):
        return None
    return float(value)


_Failure = Callable[[str], BlobError]
_FAILURES: dict[int, tuple[str, _Failure]] = {
    401: ("the server does not accept the token", UnauthorizedError),
    403: ("the server does not allow this user that", UnauthorizedError),
    404: ("the server does not have it", BlobNotFoundError),
    406: ("the server does not know such a flag", InvalidFlagsError),
    409: ("the server has one of that name already", BlobAlreadyExistsError),
    507: ("the space on the server is used up", QuotaExceededError),
}


def answer_error(
    status: int, action: str, blob_id: str, namespace: str, retry_after: str | None = None
) -> BlobError:
    """
    Say which error an answer is.

    :param status: an HTTP status that is not a success.
    :param action: what was asked, to begin the message with ("put", "get").
    :param blob_id: the blob that it was about; empty if it was about none.
    :param retry_after: the header of that name.
    """
    what = f"{action} {describe(blob_id, namespace)}" if blob_id else action
    if status == 404 and not blob_id:
        # Nothing that the server has under its address is missing: the address is wrong.
        return BlobNotFoundError(
            f"{what}: there is nothing at that URL (404); check it: the server's blobs are at "
            "one such as https://host/blobs/"
        )
    if status in _FAILURES:
        reason, make = _FAILURES[status]
        return make(f"{what}: {reason} ({status})")
    if status in RETRIABLE_STATUSES:
        error: BlobError = RetriableTransferError(
            f"{what}: the server can't at the moment ({status})", read_retry_after(retry_after)
        )
        return error
    return ServerError(f"{what}: the server answered {status}", status)


# -- stream frames ---------------------------------------------------------------------

FRAME_HEADER_SIZE = 8 + TAG_TEXT_SIZE + 1
"""Bytes before each blob in a download stream: the size in hex, the tag, a space."""


MAX_FRAME_SIZE = 0xFFFFFFFF
"""Bytes of the largest sealed blob that a frame can announce in its eight hex digits."""


def write_frame_header(size: int, tag: bytes) -> bytes:
    """
    Make what stands before a sealed blob of ``size`` bytes in a download stream.

    :raise ValueError: the size is above :data:`MAX_FRAME_SIZE`, or the tag is not one.
    """
    if not 0 <= size <= MAX_FRAME_SIZE:
        raise ValueError(f"a blob of {size} bytes does not fit a frame")
    if len(tag) != TAG_SIZE:
        raise ValueError(f"a tag has {TAG_SIZE} bytes, not {len(tag)}")
    return f"{size:08x}{write_tag(tag)} ".encode("ascii")


def read_frame_header(header: bytes) -> tuple[int, bytes]:
    """
    Read what stands before a blob in a download stream.

    :param header: :data:`FRAME_HEADER_SIZE` bytes.
    :return: the sealed size in bytes, and the tag.
    :raise ProtocolError: it is none.
    """
    text = header.decode("latin-1")
    if not re.fullmatch(r"[0-9a-f]{8}", text[:8]) or text[-1:] != " ":
        raise ProtocolError("a frame of the stream does not begin with its size")
    return int(text[:8], 16), read_tag(text[8:-1])


def write_manifest(entries: Iterable[tuple[str, int]]) -> bytes:
    """Make the first line of an upload stream: the ids and sealed sizes that follow."""
    return json.dumps([[blob_id, size] for blob_id, size in entries]).encode("ascii") + b"\n"


def read_manifest(line: bytes) -> list[tuple[str, int]]:
    """
    Read the first line of an upload stream. Ids are not checked here: each is judged by itself.

    :raise ProtocolError: it is not a list of ids and sizes.
    """
    manifest = read_json(line)
    if not isinstance(manifest, list):
        raise ProtocolError("the first line of a stream must be a JSON list")
    entries = []
    for entry in manifest:
        match entry:
            case [str(blob_id), int(size)] if size >= 0 and not isinstance(size, bool):
                entries.append((blob_id, size))
            case _:
                raise ProtocolError(f"not an id with a size: {entry!r:.60}")
    return entries


STREAM_RESULTS = ("created", "exists", "quota", "invalid")
"""What can become of a blob in an upload stream."""


def write_results(results: Iterable[tuple[str, str]]) -> bytes:
    """Make the answer to an upload stream: ids with what became of them, in the order sent."""
    return json.dumps([[blob_id, result] for blob_id, result in results]).encode("ascii")


def read_results(body: bytes) -> list[tuple[str, str]]:
    """
    Read the answer to an upload stream.

    :return: ids, each with one of :data:`STREAM_RESULTS`.
    :raise ProtocolError: it is not a list of those.
    """
    answer = read_json(body)
    results = []
    for entry in answer if isinstance(answer, list) else [answer]:
        match entry:
            case [str(blob_id), str(result)] if result in STREAM_RESULTS:
                results.append((blob_id, result))
            case _:
                raise ProtocolError(f"not an id with a result: {entry!r:.60}")
    return results


NOT_THERE = (0, bytes(TAG_SIZE))
"""The size and the tag in the frame of a blob that the server does not have; nothing follows it."""


def check_base_url(argument: str, value: object) -> str:
    """
    Check a base URL.

    :raise TypeError: it is not a ``str``.
    :raise ValueError: it is not an http or https URL with a host, or it has a user, a query
        or a fragment. The message does not show it: a password may be in it.
    """
    if not isinstance(value, str):
        raise TypeError(f"{argument} must be a str, not {type(value).__name__}")
    if not _is_base_url(value):
        raise ValueError(
            f"{argument} must be an http or https URL with a host, and without a password, "
            "a query or a fragment"
        )
    return value


def _is_base_url(value: str) -> bool:
    # Splitting a URL silently drops line ends and tabs.
    if re.search(r"[\x00-\x20\x7f?#\\]", value):
        return False
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        return False
    has_place = bool(parts.hostname) and port != 0 and "@" not in parts.netloc
    return parts.scheme in ("http", "https") and has_place


def check_order(order_by: str | None) -> str | None:
    """
    Check the order of a list.

    :raise ValueError: it is not one of :data:`ORDERS`, or None.
    """
    if order_by is None or order_by in ORDERS:
        return order_by
    raise ValueError(f"order_by must be one of {', '.join(ORDERS)}, not {order_by!r}")
