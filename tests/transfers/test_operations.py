"""Things that are done at the same time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from blobman.transfers.operations import together


class TogetherTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.under_way: list[Deferred[int]] = []
        self.cancelled: list[tuple[int, bool]] = []
        self.cleaning: Deferred[None] = Deferred()
        self.is_held_back = False

    @contextmanager
    def hold_back(self) -> Iterator[None]:
        self.is_held_back = True
        yield
        self.is_held_back = False

    async def work(self, number: int) -> int:
        waiting: Deferred[int] = Deferred()
        self.under_way.append(waiting)
        try:
            return await waiting
        except CancelledError:
            self.cancelled.append((number, self.is_held_back))
            await self.cleaning
            raise

    def begin(self) -> Deferred[list[int]]:
        works = [self.work(number) for number in range(3)]
        return Deferred.fromCoroutine(together(works, self.hold_back))

    def test_all_succeed(self) -> None:
        doing = self.begin()
        for number in (2, 0, 1):
            self.assertNoResult(doing)
            self.under_way[number].callback(number * 10)
        self.assertEqual(self.successResultOf(doing), [0, 10, 20])

    def test_one_fails(self) -> None:
        doing = self.begin()
        self.under_way[1].errback(OSError("cut"))
        self.assertEqual(self.cancelled, [(0, True), (2, True)])
        self.assertNoResult(doing)
        self.cleaning.callback(None)
        self.failureResultOf(doing, OSError)

    def test_cancelled(self) -> None:
        doing = self.begin()
        self.under_way[0].callback(0)
        doing.cancel()
        self.assertEqual(self.cancelled, [(1, True), (2, True)])
        self.assertNoResult(doing)
        self.cleaning.callback(None)
        self.failureResultOf(doing, CancelledError)

    def test_nothing_to_do(self) -> None:
        doing: Deferred[list[int]] = Deferred.fromCoroutine(together([], self.hold_back))
        self.assertEqual(self.successResultOf(doing), [])
