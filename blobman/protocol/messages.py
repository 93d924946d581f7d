"""What is common to all messages: their error, JSON, and truth."""

from __future__ import annotations

import json


class ProtocolError(ValueError):
    """A message is not what the protocol says. The text names what is wrong with it."""


def read_json(body: bytes) -> object:
    """
    Parse a JSON body.

    :raise ProtocolError: it is not JSON in UTF-8.
    """
    try:
        return json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ProtocolError("the body is not JSON") from error


def is_true(field: str | None) -> bool:
    """Whether a query field is set: absent, empty, ``False`` and ``0`` are not."""
    return (field or "").lower() not in ("", "false", "0")
