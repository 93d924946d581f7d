"""Cursors of our server: which point of which history they name. To clients they are opaque."""

from __future__ import annotations

import re
from typing import NamedTuple

from ..model import FIRST_CURSOR
from .messages import ProtocolError

MAX_CURSOR_SIZE = 200
"""Characters of the longest cursor."""

# No number is larger than what 63 bits hold.
_NUMBER = r"(0|[1-9][0-9]{0,17})"
_CURSOR = re.compile(rf"([A-Za-z0-9_-]{{1,100}})\.{_NUMBER}(?:\.{_NUMBER})?")
_OPAQUE = re.compile(rf"[!-~]{{1,{MAX_CURSOR_SIZE}}}")


class Cursor(NamedTuple):
    """
    A point of a history.

    :ivar generation: a generation that this point is in, or after.
    :ivar number: all changes up to this one are known.
    :ivar began: the latest change when a client began to read from the start, until it has come so
        far: deletions up to there are not for it. Else 0.
    """

    generation: str
    number: int
    began: int = 0

    def write(self) -> str:
        """Write it for a client."""
        numbers = [self.number, self.began] if self.began > self.number else [self.number]
        return ".".join([self.generation, *map(str, numbers)])

    @classmethod
    def read(cls, text: str) -> Cursor:
        """
        Read one that was written by a server such as this one.

        :raise ProtocolError: it is no cursor.
        """
        match = _CURSOR.fullmatch(text)
        if match is None:
            raise ProtocolError("changes must be a cursor of an earlier answer, or 'start'")
        generation, number, began = match.groups("0")
        return cls(generation, int(number), int(began))


def check_cursor(text: object) -> str:
    """
    Check a cursor that a server gave, whatever it means to that server.

    :raise ProtocolError: it is not one that can be sent back, or begins anew.
    """
    if not isinstance(text, str) or not _OPAQUE.fullmatch(text) or text == FIRST_CURSOR:
        raise ProtocolError(f"not a cursor of 1 to {MAX_CURSOR_SIZE} ASCII characters")
    return text
