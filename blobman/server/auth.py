"""
Who is asking: tokens, the file that their hashes are in, and the portal that lets users in.

A token is 32 random bytes, so one round of SHA-256 is all that its hash needs: there is
nothing to guess.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, cast

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import ICredentials
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred, DeferredLock, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from zope.interface import Attribute, Interface, implementer

from ..errors import StoreError
from ..model import check_name
from . import disk

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorThreads
    from twisted.python.failure import Failure

TOKEN_BYTES = 32
_ID_LENGTH = 12
_NOBODY = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True)
class TokenInfo:
    """
    A token as far as the server knows it.

    :ivar token_id: names it, for ``revoke``; tells nothing about it.
    :ivar created: seconds since the epoch.
    :ivar digest: the token's SHA-256, in hex.
    """

    user: str
    token_id: str
    created: int
    digest: str = field(repr=False)


Tokens = list[TokenInfo]


class TokenFile:
    """
    The hashes of all tokens, in one JSON file that only its owner can read.

    All of this blocks. Several processes may change the file: each change takes a lock, and
    replaces the file at once.

    :param path: the file; it is made when the first token is added.
    :param now: gives seconds since the epoch.
    """

    def __init__(self, path: str, now: Callable[[], float] = time.time) -> None:
        self.path = os.path.abspath(path)
        self._now = now

    def add(self, user: str) -> str:
        """
        Make a token for a user. It is not kept: this is the only time it can be seen.

        :raise ValueError: that can't be a user's name.
        :raise StoreError: the file is not a token file.
        """
        check_name("user", user)
        token = secrets.token_urlsafe(TOKEN_BYTES)
        token_id = secrets.token_hex(_ID_LENGTH // 2)
        with self._changing() as tokens:
            tokens.append(TokenInfo(user, token_id, int(self._now()), digest(token)))
        return token

    def list(self, user: str | None = None) -> Tokens:
        """
        List the tokens of a user, or of all.

        :raise StoreError: the file is not a token file.
        """
        return [it for it in self._read() if user is None or it.user == user]

    def revoke(self, user: str, token_id: str | None = None) -> int:
        """
        Forget one token of a user, or all of them.

        :return: how many.
        :raise StoreError: the file is not a token file.
        """
        with self._changing() as tokens:
            before = len(tokens)
            tokens[:] = [
                it
                for it in tokens
                if it.user != user or (token_id is not None and it.token_id != token_id)
            ]
            return before - len(tokens)

    def version(self) -> tuple[int, ...]:
        """Give what changes when the file does; empty if there is none."""
        return disk.version_of(self.path)

    def digests(self) -> dict[str, tuple[str, ...]]:
        """
        Read the hashes of each user's tokens.

        :raise StoreError: the file is not a token file.
        """
        users: dict[str, tuple[str, ...]] = {}
        for it in self._read():
            users[it.user] = (*users.get(it.user, ()), it.digest)
        return users

    def _read(self) -> Tokens:
        try:
            with open(self.path, encoding="utf-8") as file:
                return [_read_entry(entry) for entry in json.load(file)["tokens"]]
        except FileNotFoundError:
            return []
        except (ValueError, TypeError, KeyError) as error:
            raise StoreError("the token file is damaged, or is none") from error

    @contextmanager
    def _changing(self) -> Iterator[Tokens]:
        """Give the tokens to be changed, while nobody else can; write them at the end."""
        lock = os.open(self.path + ".lock", os.O_RDWR | os.O_CREAT, disk.FILE_MODE)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            tokens = self._read()
            yield tokens
            text = json.dumps({"tokens": [asdict(it) for it in tokens]}, indent=1)
            disk.replace_file(self.path, text.encode(), os.path.dirname(self.path))
        finally:
            os.close(lock)


def _read_entry(entry: dict[str, object]) -> TokenInfo:
    info = TokenInfo(
        user=check_name("user", entry["user"]),
        token_id=str(entry["token_id"]),
        created=int(str(entry["created"])),
        digest=str(entry["digest"]),
    )
    if not re.fullmatch("[0-9a-f]{64}", info.digest):
        raise ValueError("not a hash")
    return info


def digest(token: str) -> str:
    """Hash a token, in hex."""
    return hashlib.sha256(token.encode()).hexdigest()


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

    A file that can't be read leaves things as they were, and says so in the log.

    :param reactor: whose threads read the file; the global one if None.
    """

    credentialInterfaces = (ITokenCredentials,)
    _log = Logger()

    def __init__(self, tokens: TokenFile, reactor: IReactorThreads | None = None) -> None:
        if reactor is None:
            from twisted.internet import reactor as global_reactor

            reactor = cast("IReactorThreads", global_reactor)
        self._reactor = reactor
        self._tokens = tokens
        self._version: tuple[int, ...] | None = None
        self._digests: dict[str, tuple[str, ...]] = {}
        self._reading = DeferredLock()

    def requestAvatarId(self, credentials: TokenCredentials) -> Deferred[bytes | tuple[()]]:
        """
        Check a token.

        :return: fires with the user's name, as bytes. Fails with ``UnauthorizedLogin``.
        """
        return Deferred.fromCoroutine(self._check(credentials))

    async def _check(self, credentials: TokenCredentials) -> bytes:
        if self._tokens.version() != self._version:
            await self._reading.run(self._read_again)
        presented = digest(credentials.token)
        known = self._digests.get(credentials.user, ())
        # Every one is compared, and one if there are none: the time tells nothing.
        matches = [hmac.compare_digest(presented, it) for it in known or (_NOBODY,)]
        if known and any(matches):
            return credentials.user.encode()
        raise UnauthorizedLogin

    def _read_again(self) -> Deferred[None]:
        version = self._tokens.version()
        if version == self._version:
            return succeed(None)
        pool = self._reactor.getThreadPool()
        reading = deferToThreadPool(self._reactor, pool, self._tokens.digests)
        return reading.addCallbacks(self._set, self._keep).addCallback(self._note, version)

    def _set(self, digests: dict[str, tuple[str, ...]]) -> None:
        self._digests = digests

    def _keep(self, failure: Failure) -> None:
        self._log.error(
            "The token file can't be read, the tokens stay as they were: {reason}",
            reason=type(failure.value).__name__,
        )

    def _note(self, _: None, version: tuple[int, ...]) -> None:
        self._version = version


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


def make_portal(tokens: TokenFile, reactor: IReactorThreads | None = None) -> Portal:
    """Make the portal through which the users of a token file come in."""
    return Portal(AccountRealm(), [TokenChecker(tokens, reactor)])
