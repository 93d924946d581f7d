"""Who is asking: the portal that lets users in by their tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import ICredentials
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred, succeed
from zope.interface import Attribute, Interface, implementer

from .interface import IAccounts


class ITokenCredentials(ICredentials):
    """A user's name and a token that should be theirs."""

    user: str = Attribute("The user's name.")
    token: str = Attribute("The token.")


@implementer(ITokenCredentials)
@dataclass(frozen=True)
class TokenCredentials:
    """What an Authorization header holds."""

    user: str
    token: str = field(repr=False)


class IAccount(Interface):
    """What a user is once let in."""

    user: str = Attribute("The user's name.")


@implementer(IAccount)
@dataclass(frozen=True)
class Account:
    """A user that has been let in."""

    user: str


@implementer(ICredentialsChecker)
class TokenChecker:
    """Lets users in by their tokens."""

    credentialInterfaces = (ITokenCredentials,)

    def __init__(self, accounts: IAccounts) -> None:
        self._accounts = accounts

    def requestAvatarId(self, credentials: TokenCredentials) -> Deferred[bytes | tuple[()]]:
        """
        Check a token.

        :return: fires with the user's name, as bytes. Fails with ``UnauthorizedLogin``, or
            ``StoreError`` if nobody can tell.
        """
        return Deferred.fromCoroutine(self._check(credentials))

    async def _check(self, credentials: TokenCredentials) -> bytes:
        if not await self._accounts.check(credentials.user, credentials.token):
            raise UnauthorizedLogin
        return credentials.user.encode()


@implementer(IRealm)
class AccountRealm:
    """Gives every user an :class:`Account`."""

    def requestAvatar(
        self, avatarId: bytes | tuple[()], mind: object, *interfaces: type[Interface]
    ) -> Deferred[tuple[type[Interface], object, Callable[[], None]]]:
        """
        Let a user in.

        :return: fires with ``IAccount``, the account, and a function that ends it.
        """
        if IAccount not in interfaces:
            raise NotImplementedError("only IAccount is supported")
        assert isinstance(avatarId, bytes)
        return succeed((IAccount, Account(avatarId.decode()), lambda: None))


def make_portal(accounts: IAccounts) -> Portal:
    """Make the portal through which users come in."""
    return Portal(AccountRealm(), [TokenChecker(accounts)])
