"""A namespace is kept in step with the server: what changes here or there is moved as it comes."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, DeferredQueue

from ..model import BlobKey, SyncStatus
from ..reconciliation import AppliedChanges
from ..results import Account, BlobChange
from ..transfers.engine import Engine
from .comparing import Comparer, Differences
from .lanes import Lane, Patience, call_safely
from .moving import Begun, Mover

WAIT = 50
"""Seconds that the server is asked to wait for changes. Proxies often give up after 60."""

SOON = 5.0
"""Seconds: who answers sooner than that, and has no news, has not waited."""

MOST_WAITING = 4
"""How many namespaces wait at the server at a time, of the 8 that it lets a user's clients have."""

Tell = Callable[[BlobChange], object]


class Turns:
    """So many can have a turn at a time."""

    def __init__(self, number: int) -> None:
        """All are there."""
        self._left = number

    def take(self) -> bool:
        """Take one, if there is one, and give it back later."""
        if not self._left:
            return False
        self._left -= 1
        return True

    def give_back(self) -> None:
        """Give one back."""
        self._left += 1


class Follower:
    """Follows a namespace."""

    def __init__(
        self,
        engine: Engine,
        comparer: Comparer,
        namespace: str,
        on_change: Tell | None,
        interval: float,
        turns: Turns,
        patience: Patience,
    ) -> None:
        """
        Nothing is under way.

        :param interval: seconds between two questions, where the server does not wait.
        :param turns: taken while it waits at the server; who has none asks now and then.
        """
        self._engine = engine
        self._comparer = comparer
        self._namespace = namespace
        self._on_change = on_change
        self._interval = interval
        self._turns = turns
        self._patience = patience
        self._given_up: dict[SyncStatus, set[str]] = {status: set() for status in SyncStatus}
        self._mover = Mover(engine, comparer, Account(namespace), self._given_up)
        moves = (
            self._mover.send_deletions,
            self._replace,
            self._mover.fetch_missing,
            self._mover.send_missing,
        )
        self._lanes = [Lane(engine, patience, move) for move in moves]
        self._used_again: set[str] = set()
        self._news: DeferredQueue[BlobChange] = DeferredQueue()
        self._next: BlobChange | None = None
        self._is_behind = True
        self._fruitless = 0
        self._looked_round = engine.timing.seconds()

    async def run(self) -> None:
        """
        Follow it, for ever.

        :raise BlobError: one that :func:`ends_following`.
        """
        with ExitStack() as listening:
            listening.enter_context(self._engine.operations.failed.heard_by(self._wake))
            listening.enter_context(self._comparer.applied.heard_by(self._applied))
            works: list[Coroutine[Deferred[Any], Any, None]] = [
                self._patience.repeat(self._listen),
                *(lane.work() for lane in self._lanes),
            ]
            if self._on_change is not None:
                arrived = self._engine.arrivals.signal
                listening.enter_context(arrived.heard_by(self._arrived))
                tell = partial(self._tell_next, self._on_change)
                works.append(self._patience.repeat(tell))
            await self._engine.together(works)

    def _wake(self) -> None:
        for lane in self._lanes:
            lane.wake()

    async def _replace(self, begun: Begun) -> BaseException | None:
        used_again, self._used_again = sorted(self._used_again), set()
        return await self._mover.replace(used_again, begun)

    # -- the server's changes ----------------------------------------------------------

    async def _listen(self) -> float:
        """Hear what has changed; give the seconds until it is time to ask again."""
        delay = await self._hear()
        await self._look_round()
        return delay

    async def _hear(self) -> float:
        feed = await self._engine.need_store().get_feed(self._namespace)
        if not self._is_behind and not feed.is_comparing and not self._comparer.is_due(feed):
            return await self._wait(feed.cursor)
        found = await self._mover.compare()
        self._is_behind = False
        self._wake()
        return self._take_in(found)

    async def _wait(self, cursor: str) -> float:
        began = self._engine.timing.seconds()
        seconds = WAIT if self._turns.take() else 0
        try:
            found = await self._comparer.wait(self._namespace, cursor, seconds)
        finally:
            if seconds:
                self._turns.give_back()
        await self._mover.settle(found)
        self._is_behind = found.is_more
        if found.is_news:
            self._fruitless = 0
            self._wake()
            return self._take_in(found)
        if not seconds:
            return self._interval
        return self._pause(found, self._engine.timing.seconds() - began)

    def _take_in(self, found: Differences) -> float:
        self._used_again.update(found.used_again)
        return self._interval if found.is_list else 0.0

    def _pause(self, found: Differences, waited: float) -> float:
        """Say how long to pause after an answer without news, so that it can't be had at once."""
        if waited >= SOON:
            self._fruitless = 0
            return 0.0
        self._fruitless += 1
        if not found.is_told:
            return self._engine.timing.retry_delay(self._fruitless)
        # What this machine has changed is told, too, often before it is known here that it is
        # done, and always if another process has done it. Others are not to wait for that.
        return self._engine.timing.retry_delay(1) if self._fruitless > 1 else 0.0

    async def _look_round(self) -> None:
        """Now and then, try again what was given up, and look for what others have left here."""
        now = self._engine.timing.seconds()
        if now - self._looked_round < WAIT - 1:
            return
        self._looked_round = now
        self._mover.account = Account(self._namespace)
        for given_up in self._given_up.values():
            given_up.clear()
        await self._mover.retry_refused()
        self._wake()

    # -- what is told ------------------------------------------------------------------

    def _applied(self, namespace: str, applied: AppliedChanges) -> None:
        if namespace == self._namespace:
            for blob_id in applied.deleted:
                self._news.put(BlobChange(namespace, blob_id, "deleted", ()))
            for blob_id, flags in applied.flags:
                self._news.put(BlobChange(namespace, blob_id, "flags", flags))

    def _arrived(self, key: BlobKey) -> None:
        if key.namespace == self._namespace:
            self._news.put(BlobChange(*key, "arrived", ()))

    async def _tell_next(self, tell: Tell) -> float:
        """Tell what is next. It stays that until its flags could be read."""
        change = self._next = self._next or await self._news.get()
        if change.kind == "arrived":
            flags = await self._engine.need_store().get_flags(change.blob_id, self._namespace)
            change = change._replace(flags=flags)
        self._next = None
        await self._engine.timing.call_outside(partial(call_safely, tell, change))
        return 0.0
