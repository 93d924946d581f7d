"""The feed: how changes since a cursor are asked for, and how they are told."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from ..model import FIRST_CURSOR, ChangesPage, Flags, RemoteChange, is_name
from .cursors import check_cursor
from .headers import read_tag, write_tag
from .lists import ListQuery
from .messages import ProtocolError, is_true, read_json
from .urls import Query

MAX_CHANGES = 10_000
"""How many changes an answer has at most."""

DEFAULT_CHANGES = 1000
"""How many it has at most if nothing is said."""

MAX_CHANGES_SIZE = 8 * 1024 * 1024
"""Bytes of the longest answer that is read. A server gives fewer changes rather than more bytes."""

MAX_WAIT = 60
"""Seconds that an answer can be waited for, at most."""

_LARGEST = 2**63 - 1
_WHOLE = re.compile(r"[0-9]{1,9}", re.ASCII)


@dataclass(frozen=True)
class ChangesQuery:
    """
    Which changes are asked for.

    :ivar cursor: of an earlier answer, or :data:`~blobman.model.FIRST_CURSOR`.
    :ivar namespace: empty for the default one.
    :ivar limit: the most changes that are wanted; no answer has more than :data:`MAX_CHANGES`.
    :ivar wait: whole seconds, up to :data:`MAX_WAIT`, that the answer may take if there are none.
    """

    cursor: str = FIRST_CURSOR
    namespace: str = ""
    limit: int = DEFAULT_CHANGES
    wait: int = 0

    def fields(self) -> Query:
        """Write it as query fields."""
        return {
            "namespace": self.namespace,
            "changes": self.cursor,
            "limit": str(self.limit),
            "wait": str(self.wait) if self.wait else "",
        }

    @classmethod
    def from_fields(cls, fields: Query) -> ChangesQuery | None:
        """
        Read it from query fields.

        :return: it; None if changes are not what is asked for.
        :raise ProtocolError: a field has a value that it can't have, or asks for something else.
        """
        if "changes" not in fields:
            return None
        namespace = fields.get("namespace", "")
        if ListQuery.from_fields(fields) != ListQuery(namespace) or is_true(
            fields.get("namespaces")
        ):
            raise ProtocolError("changes can't be asked for together with a list")
        limit = _read_whole(fields, "limit", DEFAULT_CHANGES)
        if limit < 1:
            raise ProtocolError("limit must be 1 or more")
        wait = _read_whole(fields, "wait", 0)
        if wait > MAX_WAIT:
            raise ProtocolError(f"wait must be 0 to {MAX_WAIT}")
        return cls(fields["changes"], namespace, min(limit, MAX_CHANGES), wait)


def _read_whole(fields: Query, name: str, default: int) -> int:
    text = fields.get(name) or str(default)
    if not _WHOLE.fullmatch(text):
        raise ProtocolError(f"{name} must be a whole number")
    return int(text)


def write_page(page: ChangesPage) -> bytes:
    """Write an answer."""
    return PAGE_HEAD + write_changes(page.changes) + write_page_end(page.cursor, page.more)


PAGE_HEAD = b'{"changes": ['
"""How an answer begins."""


def write_changes(changes: Iterable[RemoteChange]) -> bytes:
    """Write some of an answer's changes; between two such parts belongs a comma."""
    return ", ".join(map(_write_change, changes)).encode("ascii")


def _write_change(change: RemoteChange) -> str:
    # Neither names nor tags nor flags have a character that JSON would escape.
    if change.tag is None:
        return f'["{change.blob_id}"]'
    flags = ", ".join(f'"{flag}"' for flag in change.flags)
    tag = write_tag(change.tag)
    return f'["{change.blob_id}", "{tag}", {change.size}, {change.date}, [{flags}]]'


def write_page_end(cursor: str, more: bool) -> bytes:
    """Write what follows the changes."""
    return f'], "cursor": {json.dumps(cursor)}, "more": {json.dumps(more)}}}'.encode("ascii")


def read_page(body: bytes, query: ChangesQuery) -> ChangesPage:
    """
    Read an answer.

    :param query: what was asked for.
    :raise ProtocolError: it is not one, or none to that.
    """
    answer = read_json(body)
    if not isinstance(answer, dict):
        raise ProtocolError("not a JSON object")
    changes, more = answer.get("changes"), answer.get("more")
    if not isinstance(changes, list) or not isinstance(more, bool):
        raise ProtocolError("not an object with changes, a cursor and more")
    if len(changes) > min(query.limit, MAX_CHANGES):
        raise ProtocolError(f"{len(changes)} changes, and {query.limit} were asked for")
    page = ChangesPage(
        [_read_change(it) for it in changes], check_cursor(answer.get("cursor")), more
    )
    if len({change.blob_id for change in page.changes}) < len(changes):
        raise ProtocolError("an id comes twice")
    if more and page.cursor == query.cursor:
        raise ProtocolError("there is more, behind the same cursor")
    return page


def _read_change(item: object) -> RemoteChange:
    match item:
        case [str(blob_id)] if is_name(blob_id):
            return RemoteChange(blob_id)
        case [str(blob_id), str(tag), int(size), int(date), list(flags)] if (
            is_name(blob_id) and _is_number(size) and _is_number(date)
        ):
            # Once each, however often a server repeats it.
            once = dict.fromkeys(map(_read_flag, flags))
            return RemoteChange(blob_id, read_tag(tag), size, date, tuple(once))
    raise ProtocolError(f"not a change: {item!r:.80}")


def _is_number(value: int) -> bool:
    return not isinstance(value, bool) and 0 <= value <= _LARGEST


def _read_flag(name: object) -> Flags:
    if isinstance(name, str) and name in Flags.__members__:
        return Flags[name]
    raise ProtocolError(f"not a flag: {name!r:.40}")
