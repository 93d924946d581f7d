"""Puts that wait for their uploads."""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from blobman.errors import DeletedMeanwhile
from blobman.model import BlobKey, Priority
from blobman.transfers import puts
from blobman.transfers.puts import Putter


class SendingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(puts, "SENDING", 2)
        self.putter = Putter(lambda: 1)
        self.begun: list[str] = []
        self.uploads: dict[str, Deferred[None]] = {}

    def send(self, name: str, priority: Priority = Priority.MEDIUM) -> Deferred[None]:
        sending = self.putter.send(BlobKey("", name), priority, partial(self.upload, name))
        return Deferred.fromCoroutine(sending)

    async def upload(self, name: str) -> None:
        self.begun.append(name)
        self.uploads[name] = Deferred()
        await self.uploads[name]

    def end(self, name: str, result: Any = None) -> None:
        self.uploads[name].callback(result)

    def test_some_at_a_time_the_oldest_first(self) -> None:
        sent = [self.send(name) for name in "abcd"]
        self.assertEqual(self.begun, ["a", "b"])
        self.end("b")
        self.assertEqual(self.begun, ["a", "b", "c"])
        self.successResultOf(sent[1])
        for name in "acd":
            self.end(name)
        for one in sent:
            self.successResultOf(one)

    def test_what_is_more_urgent_does_not_wait_for_the_others(self) -> None:
        for name in "abc":
            self.send(name)
        self.send("urgent", Priority.URGENT)
        self.assertEqual(self.begun, ["a", "b", "urgent"])

    def test_a_failure_lets_the_next_one_begin(self) -> None:
        first, *_ = [self.send(name) for name in "abc"]
        self.uploads["a"].errback(OSError("cut"))
        self.failureResultOf(first, OSError)
        self.assertEqual(self.begun, ["a", "b", "c"])

    def test_cancelled(self) -> None:
        *_, third, last = [self.send(name) for name in "abcd"]
        third.cancel()
        self.failureResultOf(third, CancelledError)
        self.end("a")
        self.assertEqual(self.begun, ["a", "b", "d"])
        self.assertNoResult(last)

    def test_given_up(self) -> None:
        first, _, third = [self.send(name) for name in "abc"]
        for name in "ac":
            self.putter.give_up(BlobKey("", name), DeletedMeanwhile("gone"))
        self.failureResultOf(third, DeletedMeanwhile)
        self.assertNoResult(first)
        for name in "ab":
            self.end(name)
        self.assertEqual(self.begun, ["a", "b"])
