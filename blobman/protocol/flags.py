"""Flags as bodies."""

from __future__ import annotations

import json
from collections.abc import Iterable

from ..errors import InvalidFlagsError
from ..model import Flags
from .messages import ProtocolError, read_json


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
