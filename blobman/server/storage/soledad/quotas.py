"""The quotas, as they were kept in a file."""

from __future__ import annotations

import json
from typing import NamedTuple

from ....model import check_size, is_name


class OldQuotas(NamedTuple):
    """
    Who may keep how much, in bytes of sealed blobs; None is no limit.

    :ivar default: for users that have no quota of their own.
    :ivar users: those that have.
    :ivar is_damaged: something could not be read. Where a limit was, or may have been, it is 0.
    """

    default: int | None
    users: dict[str, int | None]
    is_damaged: bool = False


def read_quotas(text: bytes) -> OldQuotas:
    """Read the file's content."""
    try:
        content = json.loads(text)
        default, users = content["default"], content["users"]
        names = [user for user in users if is_name(user)]
        sizes = {user: users[user] for user in names}
    except (ValueError, TypeError, KeyError, RecursionError):
        return OldQuotas(0, {}, is_damaged=True)
    is_damaged = len(sizes) < len(users) or not all(map(_is_quota, [default, *sizes.values()]))
    return OldQuotas(_limit(default), {it: _limit(size) for it, size in sizes.items()}, is_damaged)


def _is_quota(size: object) -> bool:
    try:
        return size is None or check_size(size) >= 0
    except (TypeError, ValueError):
        return False


def _limit(size: object) -> int | None:
    return None if size is None else check_size(size) if _is_quota(size) else 0
