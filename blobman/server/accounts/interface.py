"""Who may come in, and keep how much: what the server asks, and what an administrator changes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from twisted.internet.defer import Deferred
from zope.interface import Interface


@dataclass(frozen=True)
class TokenInfo:
    """
    A token as far as the server knows it.

    :ivar token_id: names it, for ``revoke``; tells nothing about it.
    :ivar created: seconds since the epoch.
    :ivar digest: the token's SHA-256, in hex.
    :ivar label: what its user calls it, such as ``phone``; empty if nothing.
    """

    user: str
    token_id: str
    created: int
    digest: str = field(repr=False)
    label: str = ""

    def is_called(self, name: str) -> bool:
        """Tell whether that is its id or its label."""
        return bool(name) and name in (self.token_id, self.label)


# Inside an interface that has a method ``list``, the builtin can't be written as a type.
Tokens = list[TokenInfo]


class Usage(NamedTuple):
    """
    What a user keeps.

    :ivar size: bytes of sealed blobs.
    :ivar quota: bytes, or None for no limit.
    """

    user: str
    blobs: int
    size: int
    quota: int | None


class Quotas(NamedTuple):
    """
    Who may keep how much, in bytes of sealed blobs; None is no limit.

    :ivar default: for users that have no quota of their own.
    :ivar users: those that have.
    """

    default: int | None
    users: dict[str, int | None]

    def of(self, user: str) -> int | None:
        """Tell the quota of a user."""
        return self.users.get(user, self.default)


class IAccounts(Interface):
    """What the server asks of the place where users are known."""

    def check(user: str, token: str) -> Deferred[bool]:
        """
        Tell whether a token is one of a user's now.

        :param user: any text.
        :param token: likewise.
        :return: fires with that; for a user that is not known, with false. Fails with
            ``StoreError`` if nobody can tell. It may be cancelled.
        """


class ITokens(Interface):
    """
    The tokens of users, as an administrator changes them.

    All of this blocks, and may be called in any thread. Other processes may change them at the
    same time. A server that runs follows with the next request.
    """

    def add(user: str, label: str = "") -> str:
        """
        Make a token for a user. It is not kept: this is the only time it can be seen.

        :param label: what to call it; no other token of the user may be called so.
        :raise ValueError: that can't be a user's name, or the label of this token.
        :raise StoreError: the place can't be read or written.
        :raise FileNotFoundError: the folder that it belongs in is missing.
        """

    def list(user: str | None = None) -> Tokens:
        """
        List the tokens of a user, or of all, in the order in which they were made. There are none
        in a place that has not been used yet.

        :raise StoreError: the place can't be read.
        """

    def revoke(user: str, name: str | None = None) -> int:
        """
        Forget one token of a user, or all of them.

        :param name: the id or the label of one; None for all.
        :return: how many.
        :raise StoreError: the place can't be read or written.
        """
