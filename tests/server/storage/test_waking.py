"""Who waits for changes, and what others may do while they are woken."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from blobman.server.storage.waking import Waiters

PLACE = ("alice", "default")


class WaitersTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.waiters = Waiters(lambda call, places: call(places))

    def test_only_those_who_wait_there(self) -> None:
        here, elsewhere = self.waiters.wait(*PLACE), self.waiters.wait("alice", "other")
        self.waiters.announce([PLACE])
        self.successResultOf(here)
        self.assertNoResult(elsewhere)
        self.waiters.wake_all()
        self.successResultOf(elsewhere)
        self.assertEqual(self.waiters.number, 0)

    def test_one_that_is_cancelled(self) -> None:
        cancelled, other = self.waiters.wait(*PLACE), self.waiters.wait(*PLACE)
        cancelled.cancel()
        self.failureResultOf(cancelled, CancelledError)
        self.waiters.announce([PLACE])
        self.successResultOf(other)

    def test_those_who_are_cancelled_while_they_are_woken(self) -> None:
        """Whoever is woken first may end what another one waits for."""
        all_of_them = [self.waiters.wait(*PLACE) for _ in range(3)]

        def cancel_one(_: None) -> None:
            waiting = [it for it in all_of_them if not it.called]
            if len(waiting) == 2:
                waiting[0].cancel()

        for deferred in all_of_them:
            deferred.addCallback(cancel_one)
        self.waiters.announce([PLACE])
        outcomes: list[object] = []
        for deferred in all_of_them:
            deferred.addErrback(lambda it: it.trap(CancelledError)).addBoth(outcomes.append)
        self.assertCountEqual(outcomes, [None, None, CancelledError])
