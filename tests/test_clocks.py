"""Timeouts when the wall clock is set."""

from __future__ import annotations

import os
import time
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol, serverFromString
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from blobman import BlobManager
from blobman.clocks import SteadyClock, steady_clock, use_monotonic_time
from blobman.protocol import write_authorization
from blobman.server.accounts.file import FileAccounts
from blobman.server.accounts.tokens import TokenFile
from blobman.server.running.sites import make_site

from .server.blobs import open_memory_backend
from .server.talk import Talk


class World:
    """A reactor that goes by a wall clock, and time that passes."""

    def __init__(self) -> None:
        self.wall = Clock()
        self.wall.rightNow = 1_000_000.0
        self.passed = 0.0
        self.clock = SteadyClock(self.wall, lambda: self.passed)

    def let_pass(self, seconds: float) -> None:
        self.passed += seconds
        self.wall.advance(seconds)

    def set_wall_clock(self, by: float) -> None:
        self.wall.rightNow += by
        # The reactor goes round for some other reason.
        self.wall.advance(0)


class SteadyClockTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.clock = self.world.clock
        self.calls: list[object] = []

    def later(self, delay: float) -> IDelayedCall:
        return self.clock.callLater(delay, self.calls.append, delay)

    def test_interfaces(self) -> None:
        verifyObject(IReactorTime, self.clock)
        verifyObject(IDelayedCall, self.later(1))

    def test_nobody_sets_it(self) -> None:
        self.clock.callLater(2, lambda *them, **named: self.calls.append((them, named)), 1, a=2)
        self.world.let_pass(1.9)
        self.assertEqual(self.calls, [])
        self.world.let_pass(0.1)
        self.assertEqual(self.calls, [((1,), {"a": 2})])
        self.assertEqual(
            (self.clock.getDelayedCalls(), self.world.wall.getDelayedCalls()), ([], [])
        )

    def test_set_forward(self) -> None:
        self.later(60)
        self.world.let_pass(10)
        self.world.set_wall_clock(7200)
        self.world.let_pass(49)
        self.assertEqual(self.calls, [])
        self.world.let_pass(1)
        self.assertEqual(self.calls, [60])

    def test_set_back(self) -> None:
        self.later(60)
        self.world.let_pass(10)
        self.world.set_wall_clock(-7200)
        self.world.let_pass(40)
        self.later(1000)
        self.world.let_pass(9)
        self.assertEqual(self.calls, [])
        self.world.let_pass(1)
        self.assertEqual(self.calls, [60])

    def test_cancelled(self) -> None:
        call = self.later(1)
        call.cancel()
        self.assertFalse(call.active())
        self.assertRaises(AlreadyCancelled, call.cancel)
        self.assertEqual(self.world.wall.getDelayedCalls(), [])
        call = self.later(0)
        self.world.let_pass(0)
        self.assertRaises(AlreadyCalled, call.reset, 1)

    def test_an_error_of_the_call_is_the_reactors(self) -> None:
        self.clock.callLater(1, lambda: 1 // 0)
        self.assertRaises(ZeroDivisionError, self.world.let_pass, 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    @given(
        st.lists(st.tuples(st.sampled_from(["pass", "reset", "delay", "set"]), st.integers(0, 50)))
    )
    def test_each_call_is_made_once_and_in_time(self, steps: list[tuple[str, int]]) -> None:
        world, made = World(), list[float]()
        call = world.clock.callLater(20, lambda: made.append(world.passed))
        due = 20.0
        for step, seconds in steps:
            if step == "pass":
                world.let_pass(seconds)
            elif step == "set":
                world.set_wall_clock(seconds * 1000)
            elif call.active():
                getattr(call, step)(seconds)
                due = world.passed + seconds if step == "reset" else due + seconds
            if step in ("pass", "set"):
                self.assertEqual(bool(made), due <= world.passed, (step, due))
        world.let_pass(max(0.0, due - world.passed))
        self.assertEqual(len(made), 1)
        self.assertFalse(call.active())
        self.assertEqual(world.wall.getDelayedCalls(), [])


class FakeReactor(Clock):
    seconds: Any = time.time


class WhichClockTests(SynchronousTestCase):
    def test_a_clock_that_is_steady_is_taken_as_it_is(self) -> None:
        clock = Clock()
        self.assertIs(steady_clock(clock), clock)
        self.assertIsInstance(steady_clock(FakeReactor()), SteadyClock)

    def test_a_reactor_of_its_own(self) -> None:
        mine = FakeReactor()
        use_monotonic_time(mine)
        self.assertIs(mine.seconds, time.monotonic)
        self.assertIs(steady_clock(mine), mine)

    def test_one_that_is_waiting_for_something(self) -> None:
        busy = FakeReactor()
        busy.callLater(1, lambda: None)
        use_monotonic_time(busy)
        self.assertIs(busy.seconds, time.time)


class WallClockTests(TestCase):
    """The wall clock is set while a client and a server talk."""

    # By the reactor's clock, which is set.
    timeout = 100_000

    async def setUp(self) -> None:  # type: ignore[override]
        # Whatever it has gone by since another test.
        self.patch(reactor, "seconds", time.time)
        folder = self.mktemp()
        os.mkdir(folder)
        tokens = TokenFile(os.path.join(folder, "tokens"))
        self.token = tokens.add("alice")
        self.backend = open_memory_backend()
        self.site = make_site(self.backend, FileAccounts(tokens))
        endpoint = serverFromString(reactor, "tcp:0:interface=127.0.0.1")
        self.port = await endpoint.listen(self.site)
        self.number = self.port.getHost().port
        self.addCleanup(self.stop)

    async def stop(self) -> None:
        await self.port.stopListening()
        await self.site.end_connections(0.0)

    async def set_wall_clock(self) -> None:
        self.patch(reactor, "seconds", lambda: time.time() + 7200)
        for _ in range(3):
            turn: Deferred[None] = Deferred()
            cast(Any, reactor).callFromThread(turn.callback, None)
            await turn

    async def test_an_upload_goes_on(self) -> None:
        talk = Talk()
        await connectProtocol(HostnameEndpoint(reactor, "127.0.0.1", self.number), talk)
        credentials = write_authorization("alice", self.token)
        lines = ["PUT /blobs/alice/a HTTP/1.1", "Host: x", f"Authorization: {credentials}"]
        lines += ["Content-Length: 800", "Expect: 100-continue", "Connection: close", "", ""]
        talk.send("\r\n".join(lines).encode())
        await talk.until(b"100 Continue")
        await self.set_wall_clock()
        self.assertFalse(talk.closed.called)
        talk.send(bytes(800))
        self.assertIn(b"HTTP/1.1 200 OK", await talk.closed)

    async def test_a_download_goes_on(self) -> None:
        manager = BlobManager(
            "", f"http://127.0.0.1:{self.number}/blobs/", "", "s" * 96, "alice", self.token
        )
        self.addCleanup(manager.close)
        asked, gate = Deferred[None](), Deferred[None]()
        count = self.backend.count

        async def count_later(*them: Any) -> int:
            asked.callback(None)
            await gate
            number: int = await count(*them)
            return number

        self.patch(self.backend, "count", lambda *them: Deferred.fromCoroutine(count_later(*them)))
        counting = manager.count()
        await asked
        await self.set_wall_clock()
        gate.callback(None)
        self.assertEqual(await counting, {"count": 0})
