"""All namespaces of a user are followed: those that there are, and those that come."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure

from ..transfers.engine import Engine
from .lanes import Patience
from .namespaces import find_namespaces


class Crowd:
    """Follows them."""

    def __init__(
        self,
        engine: Engine,
        follow: Callable[[str], Coroutine[Deferred[Any], Any, None]],
        interval: float,
        patience: Patience,
    ) -> None:
        """
        Nothing is under way.

        :param follow: follows one.
        :param interval: seconds between two looks for others.
        """
        self._engine = engine
        self._follow = follow
        self._interval = interval
        self._patience = patience
        self._following: dict[str | None, Deferred[None]] = {}
        self._ended: Deferred[None] = Deferred()

    async def run(self) -> None:
        """
        Follow them, for ever.

        :raise BlobError: one that :func:`ends_following`.
        """
        self._begin(None, self._patience.repeat(self._begin_others))
        try:
            await self._ended
        finally:
            with self._engine.held_back():
                for following in self._following.values():
                    following.cancel()
            await DeferredList(self._following.values())

    def _begin(self, name: str | None, work: Coroutine[Deferred[Any], Any, None]) -> None:
        self._following[name] = Deferred.fromCoroutine(work).addErrback(self._fail)

    def _fail(self, failure: Failure) -> None:
        if not self._ended.called:
            self._ended.errback(failure)

    async def _begin_others(self) -> float:
        engine = self._engine
        found = await find_namespaces(engine.need_store(), engine.need_remote(), engine.requests)
        for namespace in sorted({"", *found}):
            if namespace not in self._following:
                self._begin(namespace, self._follow(namespace))
        return self._interval
