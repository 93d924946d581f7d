"""The limit of bytes in a second: by itself, and in transfers with a clock that a test moves on."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from blobman import BlobManager
from blobman.remote.throttle import BURST, Throttle

from .support import ReactorWithClock, ServerTestCase, content, doc


class ThrottleTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.throttle = Throttle(self.clock, 1000)

    def tearDown(self) -> None:
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def take(self, size: int) -> Deferred[None]:
        """Take more than there is."""
        turn = self.throttle.take(size)
        assert turn is not None
        return turn

    def test_no_limit(self) -> None:
        throttle = Throttle(self.clock)
        self.assertIsNone(throttle.portion)
        self.assertIsNone(throttle.take(10**12))

    def test_what_there_is_costs_no_time(self) -> None:
        self.assertIsNone(self.throttle.take(250))
        self.assertNoResult(turn := self.take(1))
        self.clock.advance(0.001)
        self.successResultOf(turn)

    def test_what_is_not_used_is_lost(self) -> None:
        self.clock.advance(3600)
        self.assertIsNone(self.throttle.take(int(1000 * BURST)))
        self.assertNoResult(turn := self.take(1000))
        self.clock.advance(1)
        self.successResultOf(turn)

    def test_in_the_order_in_which_they_come(self) -> None:
        self.throttle.take(250)
        first, second, third = self.take(1000), self.take(1), self.take(999)
        self.clock.advance(0.9)
        self.assertNoResult(first)
        self.clock.advance(0.1)
        self.successResultOf(first)
        self.assertNoResult(second)
        self.clock.advance(0.001)
        self.successResultOf(second)
        self.clock.advance(0.998)
        self.assertNoResult(third)
        self.clock.advance(0.001)
        self.successResultOf(third)

    def test_never_more_than_the_rate(self) -> None:
        taken = 0
        for _ in range(100):
            turn = self.throttle.take(self.throttle.portion or 0)
            taken += self.throttle.portion or 0
            while turn is not None and not turn.called:
                self.clock.advance(0.01)
            self.assertLessEqual(taken, 1000 * (self.clock.seconds() + BURST) + 1)
        self.assertAlmostEqual(self.clock.seconds(), taken / 1000 - BURST, delta=0.2)

    def test_another_rate_counts_at_once(self) -> None:
        self.throttle.take(250)
        turn = self.take(1000)
        self.clock.advance(0.5)
        self.throttle.rate = 100
        self.clock.advance(4.9)
        self.assertNoResult(turn)
        self.clock.advance(0.1)
        self.successResultOf(turn)
        turn = self.take(100_000)
        self.throttle.rate = 100_000
        self.clock.advance(1)
        self.successResultOf(turn)

    def test_no_limit_any_more(self) -> None:
        turns = [self.take(10_000), self.take(10_000)]
        self.throttle.rate = None
        for turn in turns:
            self.successResultOf(turn)
        self.throttle.rate = 1000
        self.assertEqual(self.throttle.rate, 1000)
        self.clock.advance(BURST)
        self.assertIsNone(self.throttle.take(250))

    def test_who_is_cancelled_keeps_nobody_waiting(self) -> None:
        self.throttle.take(250)
        first, second = self.take(100), self.take(100)
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.clock.advance(0.2)
        self.successResultOf(second)
        last = self.take(100)
        last.cancel()
        self.failureResultOf(last, CancelledError)

    def test_who_is_cancelled_by_another_whose_turn_comes(self) -> None:
        self.throttle.take(250)
        first, second, third = self.take(100), self.take(100), self.take(100)
        first.addCallback(lambda _: second.cancel())
        self.clock.advance(1)
        self.successResultOf(first)
        self.failureResultOf(second, CancelledError)
        self.successResultOf(third)

    def test_who_takes_more_when_his_turn_comes(self) -> None:
        self.throttle.take(250)
        again: list[Deferred[None]] = []
        turn = self.take(100)
        turn.addCallback(lambda _: again.append(self.take(100)))
        self.clock.advance(0.1)
        self.assertNoResult(again[0])
        self.clock.advance(0.1)
        self.successResultOf(again[0])

    def test_portions_are_never_empty(self) -> None:
        self.assertEqual(Throttle(self.clock, 0.5).portion, 1)


RATE = 100_000
SIZE = 1_000_000


class TransferTests(ServerTestCase):
    """An hour passes in no time."""

    def limited(self, name: str, **options: Any) -> BlobManager:
        self.time = ReactorWithClock()
        return self.manager(name, **{"reactor": self.time, "limit_rate": RATE, **options})

    async def turn(self) -> None:
        turn: Deferred[None] = Deferred()
        reactor.callLater(0, turn.callback, None)
        await turn

    async def pass_time(self, until: Deferred[Any], step: float = 0.05) -> float:
        """Let time pass, but only when it is waited for, until that has happened."""
        start = self.time.seconds()
        while not until.called:
            await self.turn()
            if self.is_throttled():
                self.time.clock.advance(step)
        return self.time.seconds() - start

    def is_throttled(self) -> bool:
        calls: Any = self.time.clock.getDelayedCalls()
        return any(isinstance(getattr(call.func, "__self__", None), Throttle) for call in calls)

    async def test_both_ways(self) -> None:
        laptop = self.limited("laptop")
        data = content(SIZE)
        sending = laptop.put(doc(data, "x"), SIZE)
        seconds = await self.pass_time(sending)
        await sending
        self.assertGreater(seconds, 9)
        self.assertLess(seconds, 12)
        phone = self.limited("phone")
        fetching = phone.get("x")
        seconds = await self.pass_time(fetching)
        self.assertGreater(seconds, 9)
        self.assertLess(seconds, 12)
        self.assertEqual((await fetching).read(), data)

    async def test_one_budget_for_all(self) -> None:
        laptop = self.limited("laptop")
        data = content(SIZE // 4)
        sending = gatherResults([laptop.put(doc(data), len(data)) for _ in range(4)])
        seconds = await self.pass_time(sending)
        await sending
        self.assertGreater(seconds, 9)
        self.assertLess(seconds, 12)

    async def test_the_idle_timeout_does_not_count_what_the_limit_takes(self) -> None:
        laptop = self.limited("laptop", limit_rate=1000, idle_timeout=0.3)
        data = content(20_000)
        sending = laptop.put(doc(data, "x"), len(data))
        self.assertGreater(await self.pass_time(sending, 0.1), 15)
        await sending
        phone = self.limited("phone", limit_rate=1000, idle_timeout=0.3)
        fetching = phone.get("x")
        self.assertGreater(await self.pass_time(fetching, 0.1), 15)
        self.assertEqual((await fetching).read(), data)

    async def test_cancelling_what_waits(self) -> None:
        laptop = self.manager("laptop")
        await laptop.put(doc(content(SIZE), "x"), SIZE)
        for name in ("get", "put"):
            phone = self.limited(f"phone-{name}", limit_rate=1000)
            transfer: Deferred[Any]
            made = doc(content(SIZE), "y")
            transfer = phone.get("x") if name == "get" else phone.put(made, SIZE)
            while not self.is_throttled():
                await self.turn()
            transfer.cancel()
            with self.assertRaises(CancelledError):
                await transfer
            self.assertFalse(self.is_throttled())
            await phone.close()
            self.assertEqual(self.time.clock.getDelayedCalls(), [])

    async def test_lifting_the_limit(self) -> None:
        laptop = self.limited("laptop", limit_rate=1)
        sending = laptop.put(doc(content(SIZE), "x"), SIZE)
        while not self.is_throttled():
            await self.turn()
        self.assertEqual(laptop.limit_rate, 1)
        laptop.limit_rate = None
        await sending

    async def test_wrong_limits(self) -> None:
        for wrong, kind in (
            (0, ValueError), (-1, ValueError), (float("nan"), ValueError),
            (float("inf"), ValueError), ("1M", TypeError), (True, TypeError),
        ):  # fmt: skip
            with self.assertRaises(kind) as caught:
                self.manager("x", limit_rate=wrong)
            self.assertIn("limit_rate", str(caught.exception))
        manager = self.manager()
        with self.assertRaises(ValueError):
            manager.limit_rate = 0
        self.assertIsNone(manager.limit_rate)


class TransferOverTLSTests(TransferTests):
    tls = True


class TransferInStreamsTests(TransferTests):
    streams = True
