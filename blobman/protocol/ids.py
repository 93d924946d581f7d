"""Lists of ids, read as they come: a long one is never held as a whole."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable

from ..model import MAX_NAME_LENGTH
from .messages import ProtocolError

MAX_LIST_SIZE = 32 * 1024 * 1024
"""Bytes of the longest list that is read."""

MAX_IDS = 900_000
"""How many ids a list has at most: about as many as of 32 characters are in the longest one."""

_STEP = 64 * 1024
"""Bytes that are read at a time: a regular expression takes memory for all that it matches."""

_NAME = rf"[A-Za-z0-9_-]{{1,{MAX_NAME_LENGTH}}}"
_SPACE = re.compile(r"[ \t\n\r]*")
_SOME = re.compile(rf'(?:[ \t\n\r]*"{_NAME}"[ \t\n\r]*,)+')
_ONE = re.compile(rf'"({_NAME})"')
_PART = re.compile(rf'"[A-Za-z0-9_-]{{0,{MAX_NAME_LENGTH}}}')


def write_ids(ids: Iterable[str]) -> bytes:
    """Write a list of ids as a body."""
    return json.dumps(list(ids)).encode("ascii")


def read_ids(body: bytes) -> list[str]:
    """
    Read a list of ids.

    :raise ProtocolError: see :class:`IdsReader`.
    """
    reader = IdsReader()
    reader.feed(body)
    return reader.finish()


class IdsReader:
    """
    Reads a JSON list of names.

    It takes what a JSON parser would take, except for names that are written with escapes: no
    character of a name needs one.
    """

    def __init__(self, max_size: int = MAX_LIST_SIZE, max_ids: int = MAX_IDS) -> None:
        """
        Nothing has come.

        :param max_size: bytes of the longest list.
        :param max_ids: how many ids it has at most.
        """
        self._max_size = max_size
        self._max_ids = max_ids
        self._size = 0
        self._ids: list[str] = []
        self._rest = ""
        self._take: Callable[[str, int], int | None] = self._take_beginning

    def feed(self, data: bytes) -> None:
        """
        Take the next bytes.

        :raise ProtocolError: it is not a list of names, or it is longer than allowed.
        """
        self._size += len(data)
        if self._size > self._max_size:
            raise ProtocolError(f"the list is longer than {self._max_size} bytes")
        for start in range(0, len(data), _STEP):
            self._read(self._rest + data[start : start + _STEP].decode("latin-1"))

    def finish(self) -> list[str]:
        """
        Give the ids, in order.

        :raise ProtocolError: the list has not ended.
        """
        if self._take != self._take_nothing:
            raise ProtocolError("the list is cut")
        return self._ids

    def _read(self, text: str) -> None:
        at = _skip_space(text, 0)
        while at < len(text):
            end = self._take(text, at)
            if end is None:
                break
            at = _skip_space(text, end)
        self._rest = text[at:]

    def _take_beginning(self, text: str, at: int) -> int:
        if text[at] != "[":
            raise ProtocolError("not a JSON list of ids")
        self._take = self._take_first
        return at + 1

    def _take_first(self, text: str, at: int) -> int | None:
        if text[at] != "]":
            return self._take_ids(text, at)
        self._take = self._take_nothing
        return at + 1

    def _take_ids(self, text: str, at: int) -> int | None:
        """Take the ids up to the last comma; or one; or wait for the rest of one."""
        if some := _SOME.match(text, at):
            self._add(re.findall(_NAME, some.group()))
            self._take = self._take_ids
            return some.end()
        if one := _ONE.match(text, at):
            self._add([one.group(1)])
            self._take = self._take_separator
            return one.end()
        if _PART.fullmatch(text, at):
            return None
        raise ProtocolError(f"not an id: {text[at : at + 40]!r}")

    def _add(self, ids: list[str]) -> None:
        if len(self._ids) + len(ids) > self._max_ids:
            raise ProtocolError(f"the list has more than {self._max_ids} ids")
        self._ids += ids

    def _take_separator(self, text: str, at: int) -> int:
        if text[at] not in ",]":
            raise ProtocolError("something other than a comma follows an id")
        self._take = self._take_ids if text[at] == "," else self._take_nothing
        return at + 1

    def _take_nothing(self, text: str, at: int) -> int:
        raise ProtocolError("something follows the list")


def _skip_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return at if match is None else match.end()
