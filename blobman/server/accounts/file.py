"""Users that are known by a token file: :class:`FileAccounts`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred, DeferredLock, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from zope.interface import implementer

from ...errors import StoreError
from .interface import IAccounts
from .tokens import TokenFile, is_one_of

if TYPE_CHECKING:
    from twisted.python.failure import Failure

KEPT = 60.0
"""Seconds for which the tokens that were read last count while the file can't be read."""

RETRY_AFTER = 1.0
"""Seconds after which a file that could not be read is tried again, if it has not changed."""

Version = tuple[int, ...] | None


@implementer(IAccounts)
class FileAccounts:
    """
    Compares tokens with those of a file, and reads it again when it has changed.

    While the file can't be read, who has been revoked is not known. What it said last counts
    for :data:`KEPT` seconds after it was last seen unchanged; then nobody is let in.

    :param reactor: whose threads read the file; the global one if None.
    :param now: gives seconds that never go back.
    """

    _log = Logger()

    def __init__(
        self, tokens: TokenFile, reactor: Any = None, now: Callable[[], float] = time.monotonic
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self._reactor = reactor
        self._tokens = tokens
        self._now = now
        self._digests: dict[str, tuple[str, ...]] = {}
        self._version: Version = None
        self._known_at = -math.inf
        self._failed_version: Version = None
        self._failed_at = -math.inf
        self._reading = DeferredLock()

    def check(self, user: str, token: str) -> Deferred[bool]:
        """Tell whether a token is one of a user's; see :class:`.IAccounts`."""
        is_read: Deferred[None] = succeed(None)
        if self._is_to_be_read(self._look()):
            is_read = self._reading.run(self._read_again)
        return is_read.addCallback(lambda _: self._is_known(user, token))

    def _is_known(self, user: str, token: str) -> bool:
        if self._now() >= self._known_at + KEPT:
            raise StoreError("the token file can't be read")
        return is_one_of(token, self._digests.get(user, ()))

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

    def _keep(self, failure: Failure, version: Version) -> Failure | None:
        if failure.check(CancelledError):
            return failure
        self._failed_version, self._failed_at = version, self._now()
        self._log.error(
            "The token file can't be read; who it let in last is let in for "
            "{seconds:.0f} seconds more: {reason}",
            seconds=max(0.0, self._known_at + KEPT - self._now()),
            reason=failure.getErrorMessage(),
        )
        return None
