"""
Removes payloads that nothing refers to: :class:`Janitor`.

It finds them through the rows of uploads and of garbage, and never looks through a folder.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...errors import ClosedError
from .catalogue.interface import ICatalogue
from .payloads.interface import IPayloads

EVERY = 60.0
"""Seconds between two rounds."""

AT_ONCE = 100
"""How many payloads are removed, and then forgotten, together."""


class Janitor:
    """
    Cleans up, now and then.

    :param uploads: gives the keys of the uploads that are under way in this process.
    :param clock: says when; if None, only :meth:`clean` does.
    """

    _log = Logger()

    def __init__(
        self,
        catalogue: ICatalogue,
        payloads: IPayloads,
        uploads: Callable[[], Sequence[str]],
        clock: IReactorTime | None,
    ) -> None:
        self._catalogue = catalogue
        self._payloads = payloads
        self._uploads = uploads
        self._has_clock = clock is not None
        self._loop = LoopingCall(self.clean)
        if clock is not None:
            self._loop.clock = clock
        self._under_way: set[Deferred[None]] = set()
        self._is_stopped = False

    def start(self) -> None:
        """Begin, with a round at once."""
        self._is_stopped = False
        if self._has_clock:
            self._loop.start(EVERY)

    def stop(self) -> Deferred[None]:
        """
        End. What is still to be removed is left to the next process.

        :return: fires when nothing is under way. May be called twice.
        """
        self._is_stopped = True
        if self._loop.running:
            self._loop.stop()
        return Deferred.fromCoroutine(self._wait())

    async def _wait(self) -> None:
        while self._under_way:
            await DeferredList(list(self._under_way))

    def remove(self, key: str) -> Deferred[None]:
        """
        End an upload, unless it has been published, and remove its payload.

        :return: fires when that has been tried. It never fails: what is left is removed later.
        """
        return self._track(self._remove(key))

    async def _remove(self, key: str) -> None:
        if await self._catalogue.abandon(key):
            await self._remove_all([key])

    def clean(self) -> Deferred[None]:
        """
        Prolong the leases of uploads that are under way, end those that have run out, and remove
        what is due.

        :return: fires when that is done, or has failed; then the next round tries again.
        """
        return self._track(self._clean())

    async def _clean(self) -> None:
        found = AT_ONCE
        while found == AT_ONCE and not self._is_stopped:
            # Each time: where much is to be removed, a round takes longer than a lease.
            if uploads := self._uploads():
                await self._catalogue.renew(uploads)
            keys = await self._catalogue.collect(AT_ONCE)
            await self._remove_all(keys)
            found = len(keys)

    async def _remove_all(self, keys: Sequence[str]) -> None:
        """Remove what can be removed; one that can't be is in nobody's way."""
        left = await self._payloads.remove(keys) if keys else {}
        for reason in sorted({str(error) for error in left.values()}):
            self._log.warn("A payload can't be removed: {reason}", reason=reason)
        if removed := [key for key in keys if key not in left]:
            await self._catalogue.forget(removed, self._payloads.late)
        if left:
            await self._catalogue.postpone([*left])

    def _track(self, work: Coroutine[Deferred[Any], Any, None]) -> Deferred[None]:
        deferred = Deferred.fromCoroutine(work)
        self._under_way.add(deferred)

        def ended(result: Failure | None) -> None:
            self._under_way.discard(deferred)
            if isinstance(result, Failure) and not result.check(ClosedError):
                self._log.warn("Cleaning up failed: {reason}", reason=result.getErrorMessage())

        return deferred.addBoth(ended)
