"""Short requests to the server: who may ask when, and again where it asks to come later."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from ..errors import RetriableTransferError
from .permits import Permits
from .queue import Entry
from .retry import Jitter, retry_delay

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds that a request waits, in all, because the server asked it to come later."""


class Requests:
    """
    Makes short requests, some at a time, the most urgent first.

    Their permits need not be those of transfers: so a list does not wait until a large blob has
    gone. Who holds a permit of one kind never waits for one of the other.

    :ivar permits: the permits that all of them need.
    """

    def __init__(self, permits: Permits, jitter: Jitter) -> None:
        """
        Nothing is under way.

        :param jitter: see :func:`.retry_delay`.
        """
        self.permits = permits
        self._jitter = jitter

    async def make(self, priority: int, request: Callable[[], Awaitable[T]]) -> T:
        """
        Make a request in its turn. While the server asks to come later, wait, and make it again.

        :param request: makes it.
        :return: what it gave.
        :raise BlobError: as the request does. ``RetriableTransferError`` with a ``retry_after`` if
            the server asks for more than :data:`PATIENCE`.
        """
        entry = Entry(None, "request", priority, self.permits.new_age())
        failures, waited = 0, 0.0
        while True:
            try:
                async with self.permits.hold(entry):
                    return await request()
            except RetriableTransferError as error:
                if error.retry_after is None:
                    raise
                failures += 1
                delay = retry_delay(failures, self._jitter, error.retry_after)
                waited += delay
                if waited > PATIENCE:
                    raise
            await self.permits.sleep(entry, delay)
