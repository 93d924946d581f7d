"""Is it worth another try, and when: pure functions of the error and of how often it was tried."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import (
    BlobNotFoundError,
    CertificateError,
    RetriableTransferError,
    ServerError,
    StoreFullError,
    UnauthorizedError,
)

FIRST_DELAY = 1.0
"""Seconds before the second attempt."""

DELAY_STEP = 10.0
"""Seconds by which each delay is longer than the one before."""

MAX_DELAY = 60.0
"""Seconds of the longest delay that is ours to choose."""

MAX_RETRY_AFTER = 3600.0
"""Seconds that a server can make us wait at most."""

ATTEMPTS = 10
"""How often a transfer is tried in one run, in all: for some five minutes."""

STRANGE_ATTEMPTS = 3
"""How often a transfer is tried in all that is answered by something other than the server."""

Jitter = Callable[[float], float]
"""Takes seconds and gives seconds: some chance, so that clients do not come back in step."""


def is_retriable(error: BaseException, attempts: int = 1) -> bool:
    """
    Whether the same transfer may succeed later. "Not found" is for the caller to judge.

    :param attempts: how many there have been. What something on the way answers in the server's
        place may not pass before somebody has logged in there, so they end.
    """
    if isinstance(error, ServerError):
        return error.may_pass and attempts < STRANGE_ATTEMPTS
    if isinstance(error, BlobNotFoundError):
        return False
    return isinstance(error, RetriableTransferError) and attempts < ATTEMPTS


def ends_run(error: BaseException) -> bool:
    """
    Whether every other transfer would fail in the same way.

    The server and we do not agree, or nothing more can be recorded here.
    """
    return isinstance(error, (UnauthorizedError, CertificateError, StoreFullError))


def retry_delay(failures: int, jitter: Jitter, retry_after: float | None = None) -> float:
    """
    Say how long to wait before another try.

    :param failures: how often it has failed, 1 or more: 1, 11, 21, ... at most 60 seconds.
    :param jitter: what makes of such a number the one to use.
    :param retry_after: what the server asked for, in seconds; it is not undercut.
    :return: seconds.
    :raise ValueError: or ``TypeError``: what ``jitter`` gave can't be waited for.
    """
    delay = jitter(min(FIRST_DELAY + DELAY_STEP * (failures - 1), MAX_DELAY))
    if not isinstance(delay, (int, float)):
        raise TypeError(f"jitter must give a number of seconds, not {type(delay).__name__}")
    if not 0 <= delay < float("inf"):
        raise ValueError(f"jitter must give seconds that can be waited for, not {delay}")
    if retry_after is None:
        return delay
    return max(delay, min(retry_after, MAX_RETRY_AFTER))
