"""
How much each user may keep: the file that says so, and the account of what is kept.

All of this blocks for no longer than it takes to look at a small file; it may be called from
several threads.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

from ...errors import QuotaExceededError, StoreError
from ...model import check_name, check_size
from .. import disk


@dataclass
class Quotas:
    """
    Who may keep how much.

    :ivar default: bytes, for users that have no quota of their own; None for no limit.
    :ivar users: bytes, or None for no limit.
    """

    default: int | None = None
    users: dict[str, int | None] = field(default_factory=dict)

    def of(self, user: str) -> int | None:
        """Look a user's quota up."""
        return self.users.get(user, self.default)


class QuotaFile:
    """
    The quotas, in bytes of sealed blobs, in a JSON file. It is read again when it has changed.

    :param path: the file; without it, nobody has a quota.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._version: tuple[int, ...] | None = None
        self._quotas = Quotas()

    def get(self, user: str, as_it_was: bool = False) -> int | None:
        """
        Look a quota up.

        :param as_it_was: believe that the file is what it was the last time.
        :return: bytes, or None if there is no limit.
        :raise StoreError: the file can't be read.
        """
        quotas = self._quotas if as_it_was else self.read()
        return quotas.of(user)

    def read(self) -> Quotas:
        """
        Give all quotas, as they are now.

        :raise StoreError: the file can't be read.
        """
        self._refresh()
        return self._quotas

    def set(self, user: str | None, size: int | None) -> None:
        """
        Set a quota, durably.

        :param user: None for the default one, of users that have none of their own.
        :param size: bytes, or None for no limit.
        :raise ValueError: that can't be a user's name, or a size.
        :raise StoreError: the file can't be read.
        """
        if size is not None:
            check_size(size)
        if user is not None:
            check_name("user", user)
        with self._changing() as quotas:
            if user is None:
                quotas.default = size
            else:
                quotas.users[user] = size

    def unset(self, user: str) -> None:
        """
        Give a user the default quota again.

        :raise StoreError: the file can't be read.
        """
        with self._changing() as quotas:
            quotas.users.pop(user, None)

    @contextmanager
    def _changing(self) -> Iterator[Quotas]:
        """Give the quotas to be changed, while nobody else can; write them at the end."""
        with disk.replacing(self._path) as replace:
            quotas = self._read()
            yield quotas
            replace(json.dumps(asdict(quotas), indent=1).encode())

    def _refresh(self) -> None:
        try:
            version = disk.version_of(self._path)
        except OSError as error:
            raise StoreError(f"the quota file can't be read: {error}") from error
        if version != self._version:
            self._quotas = self._read()
            self._version = version

    def _read(self) -> Quotas:
        try:
            content = json.loads(disk.read_regular_file(self._path))
            users = {check_name("user", it): _check(size) for it, size in content["users"].items()}
            return Quotas(_check(content["default"]), users)
        except FileNotFoundError:
            return Quotas()
        except OSError as error:
            raise StoreError(f"the quota file can't be read: {error}") from error
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise StoreError(f"the quota file is damaged: {self._path}") from error


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

    def reserve(self, user: str, size: int, as_it_was: bool = False) -> None:
        """
        Make room for what is on its way.

        :param as_it_was: for what comes with what room has just been made for; see
            :meth:`QuotaFile.get`.
        :raise QuotaExceededError: there is not that much; nothing is reserved.
        """
        with self._lock:
            limit = self._quotas.get(user, as_it_was)
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
