"""
How much each user may keep: the file that says so, and the account of what is kept.

All of this blocks for no longer than it takes to look at a small file; it may be called from
several threads.
"""

from __future__ import annotations

import json
import os
import threading
from collections import Counter

from ..errors import QuotaExceededError, StoreError
from ..model import check_name, check_size
from . import disk


class QuotaFile:
    """
    The quotas, in bytes of sealed blobs, in a JSON file. It is read again when it has changed.

    :param path: the file; without it, nobody has a quota.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._version: tuple[int, ...] | None = None
        self._default: int | None = None
        self._users: dict[str, int | None] = {}

    def get(self, user: str) -> int | None:
        """
        Look a quota up.

        :return: bytes, or None if there is no limit.
        :raise StoreError: the file can't be read.
        """
        self._refresh()
        return self._users.get(user, self._default)

    def set(self, user: str | None, size: int | None) -> None:
        """
        Set a quota, durably. One process at a time should do so.

        :param user: None for the default one, of users that have none of their own.
        :param size: bytes, or None for no limit.
        :raise ValueError: that can't be a user's name, or a size.
        :raise StoreError: the file can't be read.
        """
        if size is not None:
            check_size(size)
        self._refresh()
        if user is None:
            self._default = size
        else:
            self._users[check_name("user", user)] = size
        self._write()

    def unset(self, user: str) -> None:
        """
        Give a user the default quota again.

        :raise StoreError: the file can't be read.
        """
        self._refresh()
        self._users.pop(user, None)
        self._write()

    def _write(self) -> None:
        text = json.dumps({"default": self._default, "users": self._users}, indent=1)
        disk.replace_file(self._path, text.encode(), os.path.dirname(self._path))

    def _refresh(self) -> None:
        version = disk.version_of(self._path)
        if version == self._version:
            return
        default, users = self._read() if version else (None, {})
        self._version, self._default, self._users = version, default, users

    def _read(self) -> tuple[int | None, dict[str, int | None]]:
        try:
            with open(self._path, encoding="utf-8") as file:
                content = json.load(file)
            users = {check_name("user", it): _check(size) for it, size in content["users"].items()}
            return _check(content["default"]), users
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise StoreError("the quota file is damaged") from error


def _check(size: object) -> int | None:
    return None if size is None else check_size(size)


class Accounts:
    """
    What each user keeps, and what is on its way in: together never more than the quota.

    :param quotas: what the limits are.
    """

    def __init__(self, quotas: QuotaFile) -> None:
        self._quotas = quotas
        self._lock = threading.Lock()
        self._used: Counter[str] = Counter()
        self._reserved: Counter[str] = Counter()

    def reset(self, used: dict[str, int]) -> None:
        """Begin with what is kept, bytes by user."""
        with self._lock:
            self._used = Counter(used)
            self._reserved.clear()

    def used(self, user: str) -> int:
        """Give the bytes that a user keeps."""
        return self._used[user]

    def reserve(self, user: str, size: int) -> None:
        """
        Make room for what is on its way.

        :raise QuotaExceededError: there is not that much; nothing is reserved.
        """
        with self._lock:
            limit = self._quotas.get(user)
            taken = self._used[user] + self._reserved[user]
            if limit is not None and taken + size > limit:
                raise QuotaExceededError(f"{size} bytes do not fit the user's quota")
            self._reserved[user] += size

    def settle(self, user: str, reserved: int, grown: int) -> None:
        """
        End a reservation.

        :param reserved: how much of what was reserved is given back.
        :param grown: by how many bytes the user's blobs have grown.
        """
        with self._lock:
            self._reserved[user] -= reserved
            self._used[user] += grown
