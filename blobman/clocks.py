"""
Time that nobody sets.

Twisted's reactors go by the wall clock. When that is set forward, every timeout ends at once; when
it is set back, none does until the old time has come again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from twisted.internet.base import DelayedCall
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

TOLERANCE = 1.0
"""Seconds by which the wall clock has to be set back to be noticed."""


def use_monotonic_time(reactor: Any) -> None:
    """
    Have a reactor go by monotonic time, which nobody can set, instead of the wall clock.

    It is for the process that owns the reactor, before anything waits for a time: once something
    does, nothing is changed. ``reactor.seconds()`` then no longer counts from the epoch.
    """
    if _goes_by_wall_clock(reactor) and not reactor.getDelayedCalls():
        reactor.seconds = time.monotonic


def steady_clock(reactor: Any) -> IReactorTime:
    """Return the clock for timeouts: the reactor, unless it goes by the wall clock."""
    clock: IReactorTime = SteadyClock(reactor) if _goes_by_wall_clock(reactor) else reactor
    return clock


def _goes_by_wall_clock(reactor: Any) -> bool:
    return getattr(reactor, "seconds", None) is time.time


@implementer(IReactorTime)
class SteadyClock:
    """
    The time of a reactor, whatever becomes of the wall clock.

    When that is set forward, calls keep their times. When it is set back, they are put right as
    soon as anything else is scheduled; until then they may be late by as much.

    :param reactor: an ``IReactorTime`` that goes by the wall clock.
    :param now: gives seconds that never go back.
    """

    def __init__(self, reactor: IReactorTime, now: Callable[[], float] = time.monotonic) -> None:
        self._reactor = reactor
        self._now = now
        self._waiting: dict[DelayedCall, IDelayedCall] = {}
        self._ahead = self._wall_clock_ahead()

    def seconds(self) -> float:
        """Return monotonic seconds; only differences mean something."""
        return self._now()

    def callLater(
        self, delay: float, callable: Callable[..., object], *args: object, **kwargs: object
    ) -> IDelayedCall:
        """Call something after so many seconds; see ``IReactorTime``."""
        self._notice_setting()
        when = self._now() + delay
        call = DelayedCall(when, callable, args, kwargs, self._forget, self._put_right, self._now)
        self._wait_for(call)
        return call

    def getDelayedCalls(self) -> list[IDelayedCall]:
        """Return the calls that have yet to be made."""
        return [*self._waiting]

    def _wait_for(self, call: DelayedCall) -> None:
        # From here on, a time that is sooner than this one is told.
        call.activate_delay()
        delay = max(0.0, call.getTime() - self._now())
        self._waiting[call] = self._reactor.callLater(delay, self._look_at, call)

    def _look_at(self, call: DelayedCall) -> None:
        if call.getTime() > self._now():
            # It was put off, or the wall clock was set forward.
            self._wait_for(call)
            return
        del self._waiting[call]
        call.called = 1
        call.func(*call.args, **call.kw)

    def _forget(self, call: DelayedCall) -> None:
        self._waiting.pop(call).cancel()

    def _put_right(self, call: DelayedCall) -> None:
        self._forget(call)
        self._wait_for(call)

    def _notice_setting(self) -> None:
        before, self._ahead = self._ahead, self._wall_clock_ahead()
        if self._ahead < before - TOLERANCE:
            for call in [*self._waiting]:
                self._put_right(call)

    def _wall_clock_ahead(self) -> float:
        return self._reactor.seconds() - self._now()
