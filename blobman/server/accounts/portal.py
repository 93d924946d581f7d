"""Who is asking: the portal that lets users in by their tokens."""

from __future__ import annotations

import hashlib
import hmac
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import ICredentials
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred, DeferredLock, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from zope.interface import Attribute, Interface, implementer

from ...errors import StoreError
from .tokens import TokenFile, digest

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorThreads
    from twisted.python.failure import Failure

KEPT = 60.0
"""Seconds for which the tokens that were read last count while the file can't be read."""

RETRY_AFTER = 1.0
"""Seconds after which a file that could not be read is tried again, if it has not changed."""

Version = tuple[int, ...] | None

_NOBODY = hashlib.sha256(b"").hexdigest()


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
    """
    Compares tokens with those of a file, and reads it again when it has changed.

    While the file can't be read, who has been revoked is not known. What it said last counts
    for :data:`KEPT` seconds after it was last seen unchanged; then nobody is let in.

    :param reactor: whose threads read the file; the global one if None.
    :param now: gives seconds that never go back.
    """

    credentialInterfaces = (ITokenCredentials,)
    _log = Logger()

    def __init__(
        self,
        tokens: TokenFile,
        reactor: IReactorThreads | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor as global_reactor

            reactor = cast("IReactorThreads", global_reactor)
        self._reactor = reactor
        self._tokens = tokens
        self._now = now
        self._digests: dict[str, tuple[str, ...]] = {}
        self._version: Version = None
        self._known_at = -math.inf
        self._failed_version: Version = None
        self._failed_at = -math.inf
        self._reading = DeferredLock()

    def requestAvatarId(self, credentials: TokenCredentials) -> Deferred[bytes | tuple[()]]:
        """
        Check a token.

        :return: fires with the user's name, as bytes. Fails with ``UnauthorizedLogin``, or
            ``StoreError`` if the token file can't be read.
        """
        return Deferred.fromCoroutine(self._check(credentials))

    async def _check(self, credentials: TokenCredentials) -> bytes:
        if self._is_to_be_read(self._look()):
            await self._reading.run(self._read_again)
        if self._now() >= self._known_at + KEPT:
            raise StoreError("the token file can't be read")
        presented = digest(credentials.token)
        known = self._digests.get(credentials.user, ())
        # Every one is compared, and one if there are none: the time tells nothing.
        matches = [hmac.compare_digest(presented, it) for it in known or (_NOBODY,)]
        if known and any(matches):
            return credentials.user.encode()
        raise UnauthorizedLogin

    def _look(self) -> Version:
        """Give the file's version now; None if it can't be told."""
        # In this thread: it takes a microsecond, and a revocation counts from the next request.
        try:
            version = self._tokens.version()
        except OSError:
            return None
        if version == self._version:
            self._known_at = self._now()
        return version

    def _is_to_be_read(self, version: Version) -> bool:
        if version is not None and version == self._version:
            return False
        return version != self._failed_version or self._now() >= self._failed_at + RETRY_AFTER

    def _read_again(self) -> Deferred[None]:
        version = self._look()
        if not self._is_to_be_read(version):
            return succeed(None)
        pool = self._reactor.getThreadPool()
        reading = deferToThreadPool(self._reactor, pool, self._tokens.digests)
        return reading.addCallbacks(
            self._accept, self._keep, callbackArgs=(version,), errbackArgs=(version,)
        )

    def _accept(self, digests: dict[str, tuple[str, ...]], version: Version) -> None:
        self._digests, self._version, self._known_at = digests, version, self._now()

    def _keep(self, failure: Failure, version: Version) -> None:
        self._failed_version, self._failed_at = version, self._now()
        self._log.error(
            "The token file can't be read; who it let in last is let in for "
            "{seconds:.0f} seconds more: {reason}",
            seconds=max(0.0, self._known_at + KEPT - self._now()),
            reason=failure.getErrorMessage(),
        )


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


def make_portal(tokens: TokenFile, reactor: Any = None) -> Portal:
    """Make the portal through which the users of a token file come in."""
    return Portal(AccountRealm(), [TokenChecker(tokens, reactor)])
