"""The users and namespaces that a transaction touches. Their sums are written at its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import apsw

from ....errors import QuotaExceededError

_ACCOUNT = """
    SELECT
        (SELECT total(size) FROM places WHERE user = ?1),
        (SELECT total(size) FROM uploads WHERE user = ?1),
        (SELECT size FROM (
            SELECT size, user FROM quotas WHERE user IN (?1, '') ORDER BY user DESC LIMIT 1
        ))
"""


@dataclass
class Place:
    """
    A namespace of a user.

    :ivar number: that of the latest change in it.
    """

    place: int
    blobs: int
    deleted: int
    size: int
    number: int


@dataclass
class Account:
    """
    A user's space, in bytes.

    :ivar quota: None for no limit.
    """

    used: int
    reserved: int
    quota: int | None

    def check(self, more: int) -> None:
        """
        See whether there is room. There is for what needs no more than there was, also if the
        quota has been lowered meanwhile.

        :raise QuotaExceededError: there is not.
        """
        if more > 0 and self.quota is not None and self.used + self.reserved + more > self.quota:
            raise QuotaExceededError(f"{more} bytes do not fit the user's quota")


class Places:
    """
    Users and namespaces, each of which is read once.

    :param connection: is in a transaction.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._places: dict[tuple[str, str], Place] = {}
        self._written: dict[int, Place] = {}
        self._accounts: dict[str, Account] = {}

    def find(self, user: str, namespace: str) -> Place | None:
        """Look a namespace up; None if nothing ever was in it."""
        place = self._places.get((user, namespace))
        if place is None:
            row = self._connection.execute(
                "SELECT place, blobs, deleted, size, number FROM places"
                " WHERE user = ? AND namespace = ?",
                (user, namespace),
            ).fetchone()
            if row is None:
                return None
            place = self._places[user, namespace] = Place(*row)
            self._written[place.place] = Place(*row)
        return place

    def make(self, user: str, namespace: str) -> Place:
        """Look a namespace up, and make it if need be."""
        place = self.find(user, namespace)
        if place is None:
            self._connection.execute(
                "INSERT INTO places (user, namespace, blobs, deleted, size, number)"
                " VALUES (?, ?, 0, 0, 0, 0)",
                (user, namespace),
            )
            number = self._connection.last_insert_rowid()
            place = self._places[user, namespace] = Place(number, 0, 0, 0, 0)
        return place

    def account(self, user: str) -> Account:
        """Look a user's space up."""
        account = self._accounts.get(user)
        if account is None:
            row: tuple[Any, ...] = self._connection.execute(_ACCOUNT, (user,)).fetchall()[0]
            used, reserved, quota = row
            account = self._accounts[user] = Account(int(used), int(reserved), quota)
        return account

    def changed_since(self, number: int) -> list[tuple[str, str]]:
        """Give the users and namespaces in which something was changed after this number."""
        return [name for name, place in self._places.items() if place.number > number]

    def write(self) -> None:
        """Write what has become of the namespaces that have changed."""
        changed = [it for it in self._places.values() if it != self._written.get(it.place)]
        self._connection.executemany(
            "UPDATE places SET blobs = ?, deleted = ?, size = ?, number = ? WHERE place = ?",
            [(it.blobs, it.deleted, it.size, it.number, it.place) for it in changed],
        )
